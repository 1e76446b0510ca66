"""Shards: parts of one plan that together are the whole, and the one run that is made of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner.analysis.history import night_of
from runner.analysis.summary import summarise
from runner.errors import UsageError
from runner.matrix.expansion import expand
from runner.plan import Plan, Shard, make_plan, parse_shard
from runner.results.merge import merge
from runner.results.store import RunFolder, write_json
from tests.matrix.examples import make_matrix
from tests.results.shards import changed, two_shards
from tests.synthetic import OTHER_HOST, models, write_run

AXES = {"database": ["pg", "my"], "server": ["sync", "uwsgi", "gevent"], "connection": ["per-request", "forever"]}


def plan_of(shard: Shard | None) -> Plan:
    matrix = make_matrix({**AXES, "databases.pg.settings.work_mem": ["1MB", "2MB"]})
    return make_plan(expand(matrix), matrix, 7, blocks=3, shard=shard)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_shards_together_are_the_plan(count: int) -> None:
    whole = plan_of(None)
    shards = [plan_of(Shard(number, count)) for number in range(1, count + 1)]
    assert sorted(cell for shard in shards for cell in shard.cells) == sorted(whole.cells)
    for block in (1, 2, 3):
        of_block = [group for group in whole.groups if group.block == block]
        own = [[group for group in shard.groups if group.block == block] for shard in shards]
        assert all(part == [group for group in of_block if group in part] for part in own), "in the whole's order"
        assert sum(map(len, own)) == len(of_block)
    assert [plan_of(Shard(number, count)) for number in range(1, count + 1)] == shards


def test_a_shard_without_a_group_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--shard 4/4: nothing is left for it.*there are 3 groups"):
        plan_of(Shard(4, 4))


@pytest.mark.parametrize("text", ["", "2", "0/4", "5/4", "a/b", "1/4/2", "-1/2"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        parse_shard(text)


@pytest.fixture
def shards(tmp_path: Path) -> list[RunFolder]:
    return two_shards(tmp_path)


def test_the_merged_run_is_the_run_in_one_go(shards: list[RunFolder], tmp_path: Path) -> None:
    merged = merge(list(reversed(shards)), tmp_path / "out", "connbench merge …")
    whole = summarise(write_run(tmp_path / "whole", skipped=shards[0].run().skipped))
    found = summarise(merged)
    assert {cell.id: cell for cell in found.cells} == {cell.id: cell for cell in whole.cells}
    key = ("cell", "metric", "value", "low", "high")
    ratios = [sorted(tuple(getattr(ratio, name) for name in key) for ratio in one.ratios) for one in (found, whole)]
    assert ratios[0] == ratios[1]
    assert found.run.finished
    record = merged.run()
    assert (record.shard, record.command) == ("", "connbench merge …")
    assert [row["block"] for row in merged.planned()] == sorted([1, 2, 3] * len(models()))
    assert [json.loads(line)["event"] for line in (merged.path / "events.jsonl").read_text().splitlines()] == [
        "pg",
        "my",
    ]
    assert len(list(merged.path.glob("logs-shard-*/*.log"))) == 2
    assert (tmp_path / "out" / "latest").resolve() == merged.path
    assert night_of(merged).ratios


def test_shards_of_several_hosts(shards: list[RunFolder], tmp_path: Path) -> None:
    """CI gives each job a machine of its own; what is compared was measured on one."""
    changed(shards[1], host=OTHER_HOST)
    host = merge(shards, tmp_path / "out", "").run().host
    assert host.cpu.startswith("2 hosts: ")
    assert host.fingerprint not in {folder.run().host.fingerprint for folder in shards}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 8}, "they differ in seed: 7 and 8"),
        ({"matrix_hash": "other"}, "they differ in matrix_hash"),
        ({"quick": True}, "they differ in quick: False and True"),
        ({"versions": {"python": "3.99"}}, "they differ in versions: python"),
        ({"shard": ""}, "a run without --shard is whole"),
        ({"shard": "2/3"}, "shards of different divisions: 1/2, 2/3"),
        ({"shard": "1/2"}, "shards are missing: 2/2"),
    ],
)
def test_what_is_no_shard_of_this_run_is_refused(
    shards: list[RunFolder], tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    changed(shards[1], **changes)
    with pytest.raises(UsageError) as refusal:
        merge(shards, tmp_path / "out", "")
    assert words in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_the_same_cell_twice_is_refused(shards: list[RunFolder], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both have the cell pg-sync-per-request"):
        merge([shards[0], shards[0], shards[1]], tmp_path / "out", "")


def test_an_unfinished_shard_is_refused(shards: list[RunFolder], tmp_path: Path) -> None:
    end = shards[1].end()
    assert end is not None
    write_json(shards[1].path / "end.json", end.model_copy(update={"status": "interrupted"}))
    with pytest.raises(UsageError, match=r"this shard was interrupted; finish it first: connbench resume"):
        merge(shards, tmp_path / "out", "")
    (shards[1].path / "end.json").unlink()
    with pytest.raises(UsageError, match="this shard was cut off"):
        merge(shards, tmp_path / "out", "")


def test_databases_that_differ_are_refused(shards: list[RunFolder], tmp_path: Path) -> None:
    end = shards[1].end()
    assert end is not None
    other = [replace_product(record) for record in end.databases]
    write_json(shards[1].path / "end.json", end.model_copy(update={"databases": other}))
    with pytest.raises(UsageError, match=r"differs from the others in database pg: PostgreSQL 15\.18 and Another"):
        merge(shards, tmp_path / "out", "")


def replace_product(record: Any) -> Any:
    return record.model_copy(update={"product": "Another"})
