import io
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from runner import plan as planning
from runner.errors import UsageError
from runner.matrix.expansion import EXCLUDED, expand
from runner.matrix.prediction import predict, usable_connections
from runner.matrix.reading import read_matrix
from runner.plan import Plan, derive_seed, make_plan, plan_as_json
from runner.report.plan_table import print_plan
from tests.matrix.examples import ROOT, age, make_matrix

AXES = {
    "database": ["pg", "my"],
    "server": ["sync", "uwsgi"],
    "connection": ["per-request", "forever", "pooled"],
}


def planned(
    axes: Mapping[str, Any] | None = None,
    *,
    seed: int = 1,
    only: str | None = None,
    quick: bool = False,
    blocks: int | None = None,
    **rest: Any,
) -> Plan:
    matrix = make_matrix({**AXES, **(axes or {})}, **rest)
    return make_plan(expand(matrix), matrix, seed, only=only, quick=quick, blocks=blocks)


def grouped(plan: Plan, block: int = 1) -> dict[str, set[str]]:
    return {group.name: {a.cell for a in group.attempts} for group in plan.groups if group.block == block}


@given(seed=st.integers(0, 2**32), blocks=st.integers(1, 6))
def test_every_cell_once_a_block(seed: int, blocks: int) -> None:
    plan = planned(seed=seed, blocks=blocks)
    assert plan.blocks == blocks
    assert [group.block for group in plan.groups] == sorted(group.block for group in plan.groups)
    for block in range(1, blocks + 1):
        cells = [attempt.cell for attempt in plan.attempts if attempt.block == block]
        assert sorted(cells) == sorted(plan.cells)
    for group in plan.groups:
        assert [attempt.order for attempt in group.attempts] == list(range(1, len(group.attempts) + 1))
        assert {(attempt.block, attempt.group) for attempt in group.attempts} == {(group.block, group.name)}
        assert {plan.cells[attempt.cell].database_name for attempt in group.attempts} == {group.database_key}


def test_one_seed_is_one_plan() -> None:
    assert planned(seed=7) == planned(seed=7)
    assert planned(seed=7).rows() != planned(seed=8).rows()


def test_seeds_are_the_same_everywhere() -> None:
    assert derive_seed(1, 2, "pg") == 124_405_334_118_751


def test_blocks_are_shuffled_anew() -> None:
    plan = planned(blocks=20)
    assert len({tuple(attempt.cell for attempt in group.attempts) for group in plan.groups if group.name == "pg"}) > 10
    assert len({tuple(group.name for group in plan.groups if group.block == block) for block in range(1, 21)}) == 2
    assert len({group.seed for group in plan.groups}) == len(plan.groups)


def test_a_group_for_each_database() -> None:
    assert {name: len(cells) for name, cells in grouped(planned()).items()} == {"pg": 6, "my": 4}


def test_databases_with_settings_of_their_own_are_servers_of_their_own() -> None:
    plan = planned({"databases.pg.max_connections": [150, 200]})
    assert {group.name: group.database_key for group in plan.groups} == {
        "pg.1": "pg.1",
        "pg.2": "pg.2",
        "my": "my",
    }
    assert all("max-connections-150" in cell for cell in grouped(plan)["pg.1"])


def test_a_cell_that_may_exhaust_the_database_runs_alone() -> None:
    plan = planned({"database": ["pg"], "server": ["sync", "gevent"], "load.keep_alive": [False]})
    groups = grouped(plan)
    alone = [cells for cells in groups.values() if len(cells) == 1]
    assert alone == [{"pg-gevent-forever-keep-alive-false"}]
    assert {group.database_key for group in plan.groups} == {"pg"}
    assert set(groups) == {"pg:1", "pg:2"}


def test_groups_fit_into_the_database() -> None:
    sizes = [2, 3, 5, 8, 13]
    databases = {"pg": {"engine": "postgres", "max_connections": 200}}
    axes = {"database": ["pg"], "server": ["uwsgi"], "servers.uwsgi.processes": sizes}
    plan = planned(axes, databases=databases)
    groups = grouped(plan)
    assert len(groups) > 1
    for cells in groups.values():
        predictions = [predict(plan.cells[cell]) for cell in cells]
        kept = sum(prediction.lingering_max or 0 for prediction in predictions)
        assert kept <= usable_connections(plan.cells[next(iter(cells))].database)
    for cell in plan.cells.values():
        assert any({cell.id, cell.reference or cell.id} <= cells for cells in groups.values())


def test_cells_that_do_not_fit_beside_each_other_run_alone() -> None:
    connections = {"a": age(None), "b": age(60), "c": age(600)}
    axes = {"database": ["my"], "server": ["uwsgi"], "connection": ["a", "b", "c"]}
    databases = {"my": {"engine": "mysql", "max_connections": 40}}
    assert sorted(map(len, grouped(planned(axes, connections=connections, databases=databases)).values())) == [1, 1, 1]


def test_groups_are_no_larger_than_the_machine_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "MOST_TOGETHER", 4)
    assert sorted(map(len, grouped(planned()).values())) == [3, 3, 4]


def test_quick_is_one_block_of_short_stretches() -> None:
    plan = planned(quick=True, blocks=None, load={"count": "4s", "windows": 8})
    load = plan.cells["pg-sync-forever"].load
    assert (plan.blocks, load.count, load.idle, load.windows, load.window) == (1, 1.2, 2.0, 2, 0.5)
    assert planned(quick=True, blocks=2).blocks == 2


def test_quick_lengthens_nothing() -> None:
    short = {"count": "500ms", "idle": "200ms", "windows": 0, "window": "300ms"}
    load = planned(quick=True, load=short).cells["pg-sync-forever"].load
    assert (load.count, load.idle, load.windows, load.window) == (0.5, 0.2, 0, 0.3)


def test_only_some_cells() -> None:
    plan = planned(only="*-uwsgi-[fp]*")
    assert set(plan.cells) == {
        "pg-uwsgi-per-request",
        "pg-uwsgi-forever",
        "pg-uwsgi-pooled",
        "my-uwsgi-per-request",
        "my-uwsgi-forever",
    }
    assert plan.cells["pg-uwsgi-pooled"].reference == "pg-uwsgi-per-request"
    assert planned(only="pg-uwsgi-pooled").cells["pg-uwsgi-pooled"].reference is None


@pytest.mark.parametrize(
    ("only", "words"),
    [
        (
            "pg-uwsgi-polled",
            r"none of the 10 cells \(pg-sync-per-request, .*, …\); did you mean 'pg-uwsgi-pooled'\?$",
        ),
        ("my-*-pooled", r"my-sync-pooled is skipped: Django's native pool"),
        ("zzz", r"--only zzz: matches none of the 10 cells \(.*\)$"),
    ],
)
def test_only_that_matches_nothing(only: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        planned(only=only)


def test_nothing_to_run() -> None:
    with pytest.raises(UsageError, match="no cell of the matrix 'example' can run"):
        planned({"database": ["my"], "connection": ["pooled"]})


def test_times() -> None:
    plan = planned(blocks=2, load={"count": "4s", "idle": "2s", "windows": 3, "window": "1s", "lead_in": "500ms"})
    assert len(plan.attempts) == 20
    assert plan.measuring_seconds == pytest.approx(20 * (4 + 3))
    assert plan.planned_seconds == pytest.approx(20 * (4 + 2 + 3 * 1.5))
    expected = plan.planned_seconds + 20 * (planning.ATTEMPT_OVERHEAD + 3 * planning.WINDOW_OVERHEAD)
    assert plan.estimated_seconds == pytest.approx(expected + planning.DATABASE_SETUP)


def test_plain_values() -> None:
    matrix = make_matrix(AXES)
    expansion = expand(matrix)
    plan = make_plan(expansion, matrix, seed=1)
    content = json.loads(json.dumps(plan_as_json(expansion, plan)))
    assert content["attempts"] == plan.rows()
    assert set(plan.rows()[0]) == {"block", "group", "cell", "attempt", "order"}
    assert [cell["id"] for cell in content["cells"]] == [cell.id for cell in expansion.cells]
    assert content["cells"][1]["predicted"]["formula"] == "4 processes, each keeps its own"
    assert content["cells"][1]["params"]["load"]["count"] == "4s"
    assert [cell["id"] for cell in content["skipped"]] == ["my-sync-pooled", "my-uwsgi-pooled"]


def test_poolers_and_distances_are_planned_or_skipped_for_a_reason() -> None:
    matrix = read_matrix(ROOT / "matrices" / "poolers.yaml")
    expansion = expand(matrix)
    plan = make_plan(expansion, matrix, seed=1)
    modes = {cell.pooler.title.partition(" ")[0] for cell in plan.cells.values() if cell.pooler is not None}
    assert modes == {"session", "transaction", "statement"}
    assert {cell.database.round_trip for cell in plan.cells.values()} == {0.0, 0.001, 0.005, 0.02}
    reasons = {cell.id: cell.reason for cell in expansion.skipped if cell.reason != EXCLUDED}
    assert "PgBouncer speaks PostgreSQL's protocol alone" in reasons["my-gthread-persistent-transaction"]
    assert reasons["my-gthread-persistent-proxysql"].startswith(("not installed: ", "connbench does not drive"))
    screen = Console(file=io.StringIO(), width=200)
    print_plan(expansion, plan, screen)
    assert isinstance(screen.file, io.StringIO)
    text = screen.file.getvalue()
    assert "pg: postgres, 1000 connections at most, round trip 0, 1, 5, 20 ms" in text
    assert re.search(r"pg-gthread-persistent-transaction-round-trip-5ms +gunicorn gthread 4 × 4 +1–4 +\d+–16 ", text)
