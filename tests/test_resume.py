"""Resuming a run: exactly the groups that are missing, and nothing that was whole is touched. Nothing is started."""

import io
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from runner import bench as benching
from runner import doctor, resume
from runner import site as sites
from runner.bench import Options, bench
from runner.errors import EnvironmentUnfit, UsageError
from runner.plan import Plan
from runner.results.schema import AttemptRecord, RunEnd, Verdict
from runner.results.store import RunFolder, now_utc, write_json
from runner.resume import differences, finish
from runner.stacks.environment import AppEnvironment
from runner.turn import own_turn
from tests.processes import ROOT

MATRIX = (ROOT / "tests" / "matrices" / "small.yaml").read_text()
Name = tuple[str, int, int]


class FakeRun:
    """Writes an attempt for whatever it is told to run; `stop_after` groups it is interrupted."""

    plans: list[Plan]
    stop_after: int | None = None

    def __init__(self, plan: Plan, apps: Any, environments: Any, folder: RunFolder, *_: Any) -> None:
        FakeRun.plans.append(plan)
        self._plan, self._folder = plan, folder

    def execute(self, enough: Any = None) -> RunEnd:
        groups = self._plan.groups[: FakeRun.stop_after]
        for group in groups:
            for planned in group.attempts:
                write_attempt(self._folder, planned.cell, planned.block, planned.attempt, group.name)
        status = "finished" if len(groups) == len(self._plan.groups) else "interrupted"
        end = RunEnd.model_validate(
            {"status": status, "finished_at": now_utc(), "wall_seconds": 1.0, "databases": [], "time_spent": {"up": 2}}
        )
        write_json(self._folder.path / "end.json", end)
        return end


def record(cell: str, block: int, attempt: int, group: str, **more: Any) -> AttemptRecord:
    values = {"verdict": Verdict(status="failed", reason="measured nothing"), **more}
    return AttemptRecord(
        cell=cell, block=block, attempt=attempt, group=group, started_at=now_utc(), clock_zero=0.0, **values
    )


def write_attempt(folder: RunFolder, cell: str, block: int, attempt: int, group: str, **more: Any) -> Path:
    partial = folder.begin_attempt(cell, block, attempt)
    pd.DataFrame({"offset": [1.0]}).to_parquet(partial / "requests.parquet")
    folder.write_attempt(partial, record(cell, block, attempt, group, **more))
    return folder.commit_attempt(partial)


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


@pytest.fixture(autouse=True)
def _nothing_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONNBENCH_STATE", str(tmp_path / "state"))
    site = tmp_path / "env" / "lib" / "python3" / "site-packages"
    site.mkdir(parents=True)
    FakeRun.plans, FakeRun.stop_after = [], None
    for module in (benching, resume):
        monkeypatch.setattr(module, "Run", FakeRun)
    monkeypatch.setattr(sites, "build_environment", lambda recipe: AppEnvironment(recipe, tmp_path / "env"))
    monkeypatch.setattr(doctor, "require_programs", lambda *_: None)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., RunFolder]:
    def run(stop_after: int | None = None) -> RunFolder:
        matrix = tmp_path / "matrix.yaml"
        matrix.write_text(MATRIX)
        FakeRun.stop_after = stop_after
        bench(Options(matrix, tmp_path / "out", only="*-sync-*", seed=5, blocks=3), console(), console())
        FakeRun.stop_after = None
        return RunFolder(tmp_path / "out" / "latest")

    return run


def resumed(folder: RunFolder, force: bool = False) -> tuple[int, list[Name], str]:
    """Exit code, the attempts that were run, what was said."""
    FakeRun.plans = []
    messages = console()
    code = finish(folder.path, force=force, wait=False, results=console(), messages=messages)
    assert isinstance(messages.file, io.StringIO)
    ran = [(one.cell, one.block, one.attempt) for plan in FakeRun.plans for one in plan.attempts]
    return code, ran, messages.file.getvalue()


def contents(folder: RunFolder) -> dict[str, bytes]:
    """Every file of every visible attempt."""
    files = (folder.path / "cells").glob("*/b*/**/*")
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in files if path.is_file()}


def planned(folder: RunFolder) -> list[Name]:
    return [(row["cell"], row["block"], row["attempt"]) for row in folder.planned()]


def assert_full(folder: RunFolder) -> None:
    found = {(one.cell, one.block) for _, one in folder.attempts() if not one.cut_off}
    assert found == {(cell, block) for cell, block, _ in planned(folder)}
    end = folder.end()
    assert end is not None
    assert end.status == "finished"
    assert list((folder.path / "cells").glob("*/.*.partial")) == []


@pytest.mark.parametrize("stop_after", [0, 1, 2, 5])
def test_exactly_the_missing_groups_are_run(run: Callable[..., RunFolder], stop_after: int) -> None:
    folder = run(stop_after)
    before = contents(folder)
    done = len(folder.attempts())
    _, ran, said = resumed(folder)
    assert ran == planned(folder)[done:]
    assert contents(folder).items() >= before.items()
    assert_full(folder)
    assert f"{len(ran)} of {len(planned(folder))} attempts are missing" in said
    end = folder.end()
    assert end is not None
    assert (end.wall_seconds, end.time_spent) == (2.0, {"up": 4.0}), "both parts add up"
    assert '"resumed"' in (folder.path / "events.jsonl").read_text()


def test_nothing_is_run_where_nothing_is_missing(run: Callable[..., RunFolder]) -> None:
    folder = run()
    before = contents(folder)
    _, ran, said = resumed(folder)
    assert (ran, contents(folder)) == ([], before)
    assert "nothing is missing" in said


@pytest.mark.parametrize("status", ["interrupted", "stopped", None])
def test_a_run_that_is_whole_and_never_said_so_is_finished(run: Callable[..., RunFolder], status: str | None) -> None:
    """It was ended between its last attempt and its end.json."""
    folder = run()
    end = folder.end()
    assert end is not None
    (folder.path / "end.json").unlink()
    if status:
        write_json(folder.path / "end.json", end.model_copy(update={"status": status, "finding": "a finding"}))
    before = contents(folder)
    code, ran, said = resumed(folder)
    assert (code, ran, contents(folder)) == (1, [], before), "its cells measured nothing"
    assert "nothing is missing" in said
    now = folder.end()
    assert now is not None
    assert (now.status, now.finding) == ("finished", "")
    assert now.wall_seconds == (end.wall_seconds if status else None)
    assert ("was not written down" in (folder.path / "report.html").read_text()) == (status is None)


def test_a_killed_run_has_no_end_and_half_attempts(run: Callable[..., RunFolder]) -> None:
    folder = run(2)
    (folder.path / "end.json").unlink()
    before = contents(folder)
    cell, block, attempt = planned(folder)[len(folder.attempts())]
    half = folder.begin_attempt(cell, block, attempt)
    (half / "requests.raw").write_text("half")
    _, ran, said = resumed(folder)
    assert len(ran) == len(planned(folder)) - len(before) // 2
    assert contents(folder).items() >= before.items()
    assert "half an attempt, removed" in said
    assert_full(folder)


def test_killed_before_the_plan_was_written(run: Callable[..., RunFolder]) -> None:
    folder = run(0)
    rows = planned(folder)
    (folder.path / "plan.jsonl").unlink()
    _, ran, _ = resumed(folder)
    assert ran == planned(folder) == rows


def test_a_group_that_was_cut_off_is_run_again_as_a_whole(run: Callable[..., RunFolder]) -> None:
    folder = run()
    cell, block, _ = planned(folder)[0]
    path = folder.attempt_path(cell, block, 1)
    name = json.loads((path / "attempt.json").read_text())["group"]
    shutil.rmtree(path)
    write_attempt(folder, cell, block, 1, name, cut_off=True)
    before = contents(folder)
    _, ran, _ = resumed(folder)
    members = {row["cell"] for row in folder.planned() if (row["group"], row["block"]) == (name, block)}
    assert len(members) > 1
    assert set(ran) == {(member, block, 2) for member in members}
    assert contents(folder).items() >= before.items(), "what it had finished stays"
    assert_full(folder)
    assert resumed(folder)[1] == []


def test_a_group_that_was_written_and_only_partly_visible_is_made_visible(run: Callable[..., RunFolder]) -> None:
    """The runner was killed between two renames: nothing has to be measured again."""
    folder = run()
    before = contents(folder)
    cell, block, attempt = planned(folder)[0]
    path = folder.attempt_path(cell, block, attempt)
    path.rename(path.with_name(f".{path.name}.partial"))
    _, ran, said = resumed(folder)
    assert (ran, contents(folder)) == ([], before)
    assert "made visible" in said


@pytest.mark.parametrize("what", ["attempt.json", "requests.parquet"])
def test_torn_files_are_set_aside_and_their_group_run_again(run: Callable[..., RunFolder], what: str) -> None:
    folder = run()
    cell, block, attempt = planned(folder)[0]
    path = folder.attempt_path(cell, block, attempt)
    (path / what).write_bytes((path / what).read_bytes()[:20])
    _, ran, said = resumed(folder)
    assert (cell, block, 2) in ran or (cell, block, 1) in ran
    assert {name[1] for name in ran} == {block}
    assert "torn" in said
    assert_full(folder)


# --- what it refuses ---


def test_a_matrix_that_was_edited(run: Callable[..., RunFolder], tmp_path: Path) -> None:
    folder = run(1)
    (tmp_path / "matrix.yaml").write_text(
        MATRIX.replace("workers: 2", "workers: 3").replace("workers: 4", "workers: 3")
    )
    with pytest.raises(UsageError, match=r"matrix: servers\.sync\.workers: \d → 3"):
        resumed(folder)
    assert FakeRun.plans == []
    resumed(folder, force=True)
    assert_full(folder)
    assert "servers.sync.workers" in folder.run().resumed_despite[0]
    assert '"forced"' in (folder.path / "events.jsonl").read_text()


def test_a_matrix_that_is_gone(run: Callable[..., RunFolder], tmp_path: Path) -> None:
    folder = run(1)
    (tmp_path / "matrix.yaml").unlink()
    with pytest.raises(UsageError, match="there is no such file"):
        resumed(folder)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"versions": {"django": "4.2"}}, "version of django: 4.2 → None"),
        ({"host": {"cpu": "Another CPU"}}, "host: cpu: Another CPU → "),
    ],
)
def test_another_host_or_version(run: Callable[..., RunFolder], change: Mapping[str, Any], named: str) -> None:
    folder = run(1)
    path = folder.path / "run.json"
    said = json.loads(path.read_text())
    for key, values in change.items():
        said[key] |= values
    path.write_text(json.dumps(said))
    with pytest.raises(UsageError, match="--force") as caught:
        resumed(folder)
    assert named in str(caught.value)
    resumed(folder, force=True)
    assert_full(folder)


def test_another_plan_cannot_be_forced(run: Callable[..., RunFolder]) -> None:
    folder = run(1)
    path = folder.path / "plan.jsonl"
    path.write_text("\n".join(reversed(path.read_text().splitlines())) + "\n")
    for force in (False, True):
        with pytest.raises(UsageError, match="not the plan"):
            resumed(folder, force)


def test_a_matrix_in_run_json_that_is_none(run: Callable[..., RunFolder]) -> None:
    folder = run(1)
    path = folder.path / "run.json"
    said = json.loads(path.read_text())
    said["matrix"]["blocks"] = "many"
    path.write_text(json.dumps(said))
    with pytest.raises(UsageError, match=r"matrix\.blocks"):
        resumed(folder)


def test_while_another_run_measures(run: Callable[..., RunFolder]) -> None:
    folder = run(1)
    with own_turn(), pytest.raises(EnvironmentUnfit, match="another run measures"):
        resumed(folder)


def test_differences_in_words() -> None:
    before = {"a": 1, "b": {"c": [1], "d": 2}, "gone": 3}
    now = {"a": 1, "b": {"c": [2], "d": 2}, "new": 4}
    assert differences(before, now) == ["b.c: [1] → [2]", "gone: 3 → None", "new: None → 4"]
