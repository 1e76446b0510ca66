"""Blocks over hosts: each exactly once in the folder, whatever becomes of those who measure them."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from runner.bench import Machine, Options, run_record
from runner.errors import UsageError
from runner.host import describe_host
from runner.matrix.expansion import expand
from runner.plan import Plan, make_plan
from runner.progress import Lines
from runner.results.schema import RunEnd
from runner.results.store import RunFolder
from runner.resume import finish, finish_spread
from runner.spread import coordinator, running
from runner.spread.coordinator import Coordinator
from runner.spread.hosts import Hosts
from runner.spread.order import Order
from runner.spread.running import _again, _blocks, _waves
from tests.matrix.examples import make_matrix
from tests.spread.clusters import Workshop, cluster

AXES = {"database": ["pg"], "server": ["sync"], "connection": ["per-request", "forever"]}


class Spreading:
    """A run of `blocks` blocks and its folder."""

    def __init__(self, out: Path, blocks: int) -> None:
        matrix = make_matrix(AXES)
        expansion = expand(matrix)
        self.plan: Plan = make_plan(expansion, matrix, 7, blocks=blocks)
        self.order = Order(
            matrix=matrix.model_dump(mode="json"),
            seed=7,
            only=None,
            quick=False,
            blocks=blocks,
            provider="native",
            block=1,
        )
        machine = Machine(describe_host(), {"python": "3.11"})
        record = run_record(Options(matrix=Path("m.yaml"), out=out, seed=7), matrix, expansion, self.plan, machine)
        self.folder = RunFolder.create(out, record)
        self.folder.write_plan(self.plan.rows())
        self.said = io.StringIO()

    def run(self, client: Any, **more: Any) -> RunEnd:
        hosts = Hosts(client, "tcp://here", self.order)
        hosts.gather()
        lines = Lines(Console(file=self.said, width=200), self.plan.planned_seconds)
        blocks = [found for block in _blocks(self.plan, self.order) if (found := _again(block, self.plan, self.folder))]
        return Coordinator(client, hosts, self.folder, lines).execute(_waves(self.plan, blocks), **more)

    def found(self) -> list[tuple[str, int, int]]:
        return [(record.cell, record.block, record.attempt) for _, record in self.folder.attempts()]

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in (self.folder.path / "events.jsonl").read_text().splitlines()]


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "scratch")


@pytest.fixture
def spreading(tmp_path: Path) -> Spreading:
    return Spreading(tmp_path / "out", 5)


def every(plan: Plan, attempt: int = 1) -> list[tuple[str, int, int]]:
    return sorted(((one.cell, one.block, attempt) for one in plan.attempts), key=lambda one: (one[1], one[0]))


def test_every_block_once_and_whole_on_one_host(
    spreading: Spreading, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cluster(workshop, 2, monkeypatch) as client:
        end = spreading.run(client)
    assert (end.status, end.time_spent) == ("finished", {"count": 10.0})
    assert spreading.found() == every(spreading.plan)
    hosts = {record.block: record.measured_on for _, record in spreading.folder.attempts()}
    assert {(record.block, record.measured_on) for _, record in spreading.folder.attempts()} == set(hosts.items())
    assert sorted(workshop.begun) == sorted((block, host.removeprefix("host-")) for block, host in hosts.items())
    record = spreading.folder.run()
    assert [host.fingerprint for host in record.hosts] == ["host-0", "host-1"]
    assert record.host.cpu.startswith("2 hosts: ")
    assert sorted(path.name for path in spreading.folder.path.glob("logs-*")) == [f"logs-b{n}" for n in range(1, 6)]
    assert spreading.events().count("block") == 5
    assert not list(spreading.folder.path.glob(".arrived*"))


def test_a_straggler_is_measured_by_another_and_counts_once(
    spreading: Spreading, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coordinator, "STRAGGLES_BY", 1.0)
    workshop.slow = {2}
    with cluster(workshop, 2, monkeypatch) as client:
        end = spreading.run(client)
        workshop.go_on.set()
    assert end.status == "finished"
    assert spreading.found() == every(spreading.plan)
    assert [block for block, _ in workshop.begun].count(2) == 2
    assert len({host for block, host in workshop.begun if block == 2}) == 2
    assert "straggler" in spreading.events()


def test_a_block_that_fails_once_is_tried_again(
    spreading: Spreading, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.failing = {3: 1}
    with cluster(workshop, 2, monkeypatch) as client:
        assert spreading.run(client).status == "finished"
    assert spreading.found() == every(spreading.plan)
    assert "block 3: no room: it is tried once more" in spreading.said.getvalue()


def test_a_block_that_fails_twice_stops_the_run_which_can_be_finished(
    spreading: Spreading, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.failing = {3: 2}
    with cluster(workshop, 2, monkeypatch) as client:
        end = spreading.run(client)
        assert (end.status, end.finding) == ("stopped", "block 3: no room")
        there = set(spreading.found())
        assert not any(block == 3 for _, block, _ in there)
        before = len(workshop.begun)
        assert spreading.run(client).status == "finished"
    assert spreading.found() == every(spreading.plan)
    again = {block for block, _ in workshop.begun[before:]}
    assert again == {1, 2, 3, 4, 5} - {block for _, block, _ in there}


def test_no_more_blocks_than_are_needed(workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spreading = Spreading(tmp_path / "out", 4)
    asked: list[int] = []

    def enough(block: int) -> bool:
        asked.append(block)
        return True

    with cluster(workshop, 1, monkeypatch) as client:
        assert spreading.run(client, enough=enough).status == "finished"
    assert asked == [4]


def test_hosts_that_differ_are_refused_by_name(
    spreading: Spreading, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.others = {"1"}
    with cluster(workshop, 2, monkeypatch) as client, pytest.raises(UsageError) as refusal:
        spreading.run(client)
    assert "its host is another than the first one's in version of python" in str(refusal.value)


def test_two_workers_on_one_host_are_refused(
    spreading: Spreading, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.twins = {"0": "same", "1": "same"}
    with cluster(workshop, 2, monkeypatch) as client, pytest.raises(UsageError, match="two would measure each other"):
        spreading.run(client)


def test_a_scheduler_without_workers_is_refused(
    spreading: Spreading, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cluster(workshop, 0, monkeypatch) as client, pytest.raises(UsageError, match="--resources connbench=1"):
        spreading.run(client)


def resumed(spreading: Spreading) -> int:
    quiet = Console(file=spreading.said, width=200)
    return finish_spread(spreading.folder.path, "tcp://here", results=quiet, messages=quiet, most_cells=None)


def test_a_run_that_was_stopped_is_finished_on_the_hosts_that_are_there(
    spreading: Spreading, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.failing = {2: 2}
    monkeypatch.setattr(running, "source_hash", lambda _: "same")
    with cluster(workshop, 2, monkeypatch) as client:
        assert spreading.run(client).status == "stopped"
        monkeypatch.setattr(running, "_connected", lambda _: contextlib.nullcontext(client))
        assert resumed(spreading) == 1, "what was made up has failed verdicts"
        assert spreading.found() == every(spreading.plan)
        begun = len(workshop.begun)
        resumed(spreading)
    assert len(workshop.begun) == begun, "nothing was missing"
    end = spreading.folder.end()
    assert end is not None
    assert end.status == "finished"


def test_a_run_of_one_host_is_not_resumed_on_several(spreading: Spreading) -> None:
    with pytest.raises(UsageError, match="it was measured on one host"):
        resumed(spreading)


def test_a_run_of_several_hosts_is_not_resumed_on_this_one(
    spreading: Spreading, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cluster(workshop, 1, monkeypatch) as client:
        spreading.run(client)
    quiet = Console(file=spreading.said, width=200)
    with pytest.raises(UsageError, match="resume it with --scheduler"):
        finish(spreading.folder.path, force=False, wait=False, results=quiet, messages=quiet)
