"""Two runs held against each other: what is refused, what is named, and how often it is right."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.analysis.compare import compare_folders
from runner.analysis.model import Change, RunComparison
from runner.results.schema import DatabaseRecord, RunEnd
from runner.results.store import RunFolder, read_json, write_json
from tests.synthetic import OTHER_HOST, Model, models, searched, slower, write_run


def run(out: Path, cells: list[Model], seed: int, **more: Any) -> RunFolder:
    return write_run(out, cells, seed=seed, blocks=more.pop("blocks", 6), **more)


def compared(tmp_path: Path, old: dict[str, Any], new: dict[str, Any], *, ratios: bool = False) -> RunComparison:
    cells = models()[:4]
    base: dict[str, Any] = {"cells": cells, "seed": 1} | old
    later: dict[str, Any] = {"cells": cells, "seed": 2} | new
    return compare_folders(run(tmp_path / "base", **base), run(tmp_path / "new", **later), ratios=ratios)


def change(result: RunComparison, cell: str, metric: str = "throughput_rps") -> Change:
    return next(found for found in result.changes if (found.cell, found.metric) == (cell, metric))


def test_a_cell_that_became_slower_is_named_and_no_other(tmp_path: Path) -> None:
    cells = slower(models()[:4], 0.7, "pg-sync-persistent")
    result = compared(tmp_path, {}, {"cells": cells})
    found = change(result, "pg-sync-persistent")
    assert result.verdict.status == "ok"
    assert (found.verdict, found.reference, found.family) == ("distinguishable", None, 4)
    assert (found.value or 0) == pytest.approx(0.7, rel=0.05)
    assert (found.base or 0) == pytest.approx(420, rel=0.05)
    assert (found.new or 0) == pytest.approx(294, rel=0.05)
    assert change(result, "pg-sync-persistent", "latency_ms.p50").verdict == "distinguishable"
    others = [one for one in result.changes if one.cell != "pg-sync-persistent"]
    assert {one.verdict for one in others} == {"not distinguishable"}


def test_another_host_is_incomparable_with_the_fields_that_differ(tmp_path: Path) -> None:
    result = compared(tmp_path, {}, {"host": OTHER_HOST})
    assert result.verdict.status == "incomparable"
    assert result.verdict.reason == "they differ in host"
    fields = {found.field: (found.base, found.new) for found in result.grave}
    assert fields["host: cpu"] == ("Example CPU 3 GHz", "Other CPU")
    assert fields["host: cores"] == ("2", "8")
    assert "host: kernel" not in fields
    assert result.changes == ()


@pytest.mark.parametrize(
    ("record", "field"),
    [
        (DatabaseRecord(name="pg", product="PostgreSQL 17.2", settings={"fsync": "off"}), "database pg: product"),
        (DatabaseRecord(name="pg", product="PostgreSQL 15.18", settings={"fsync": "on"}), "database pg: fsync"),
    ],
)
def test_another_database_is_incomparable(tmp_path: Path, record: DatabaseRecord, field: str) -> None:
    base, new = (run(tmp_path / name, models()[:4], 1) for name in ("base", "new"))
    end = new.end()
    assert end is not None
    write_json(new.path / "end.json", end.model_copy(update={"databases": [record]}))
    assert read_json(new.path / "end.json", RunEnd).databases
    result = compare_folders(base, new, ratios=False)
    assert (result.verdict.status, result.verdict.reason) == ("incomparable", "they differ in database pg")
    assert field in [found.field for found in result.grave]
    assert compare_folders(base, new, ratios=True).verdict.status == "ok"


def test_a_database_that_no_common_cell_uses_does_not_matter(tmp_path: Path) -> None:
    base, new = (run(tmp_path / name, models()[:4], 1) for name in ("base", "new"))
    end = new.end()
    assert end is not None
    databases = [record for record in end.databases if record.name == "pg"]
    write_json(new.path / "end.json", end.model_copy(update={"databases": databases}))
    assert compare_folders(base, new, ratios=False).verdict.status == "ok"


def test_a_run_that_never_told_its_database_is_incomparable(tmp_path: Path) -> None:
    result = compared(tmp_path, {}, {"end": None})
    assert result.verdict.status == "incomparable"
    assert [(found.base, found.new) for found in result.grave] == [("PostgreSQL 15.18", "not recorded")]


def test_ratios_compare_between_machines_of_different_speed(tmp_path: Path) -> None:
    """The other host is twice as fast throughout; one cell lost a third beside its reference."""
    names = [cell.id for cell in models()[:4]]
    cells = slower(slower(models()[:4], 2.0, *names), 0.67, "pg-sync-persistent")
    result = compared(tmp_path, {}, {"cells": cells, "host": OTHER_HOST}, ratios=True)
    assert result.verdict.status == "ok"
    assert {one.cell for one in result.changes} == set(names) - {"pg-sync-per-request"}
    found = change(result, "pg-sync-persistent")
    assert (found.verdict, found.reference) == ("distinguishable", "pg-sync-per-request")
    assert (found.value or 0) == pytest.approx(0.67, rel=0.06)
    assert change(result, "pg-sync-pooled").verdict == "not distinguishable"
    assert any(one.field == "host: cpu" for one in result.grave), "it is said all the same"


def test_what_else_changed_is_said(tmp_path: Path) -> None:
    result = compared(tmp_path, {}, {"versions": {"python": "3.12.1", "psycopg3/gunicorn": "23.0.0"}})
    assert [(found.field, found.base, found.new) for found in result.differences] == [
        ("version: python", "3.11.2", "3.12.1"),
        ("version: psycopg3/django", "5.2.8", "(none)"),
    ]


def test_a_parameter_that_changed_alike_in_several_cells_is_said_once(tmp_path: Path) -> None:
    base, new = (run(tmp_path / name, models()[:3], 1) for name in ("base", "new"))
    record = new.run()
    cells = [cell.model_copy(update={"params": {**cell.params, "load": {"users": 32}}}) for cell in record.cells]
    write_json(new.path / "run.json", record.model_copy(update={"cells": cells}))
    found = compare_folders(base, new, ratios=False).differences
    assert [(one.field, one.base, one.new, len(one.cells)) for one in found] == [
        ("parameter: load.users", "16", "32", 3),
        ("parameter: load.keep_alive", "True", "(none)", 3),
    ]


def test_cells_of_one_run_alone_are_listed(tmp_path: Path) -> None:
    result = compared(tmp_path, {"cells": models()[:3]}, {"cells": models()[1:4]})
    assert (result.only_in_base, result.only_in_new) == (["pg-sync-per-request"], ["pg-sync-pooled"])
    assert {one.cell for one in result.changes} == {"pg-sync-persistent", "pg-sync-forever"}


def test_connections_are_exact_counts(tmp_path: Path) -> None:
    cells = [dataclasses.replace(cell, peak=9) if cell.connection == "forever" else cell for cell in models()[:4]]
    result = compared(tmp_path, {}, {"cells": cells})
    changed = {(one.cell, one.metric) for one in result.counts if one.changed}
    assert changed == {("pg-sync-forever", "connections.peak"), ("pg-sync-forever", "connections.lingering")}


def test_one_block_gives_changes_without_interval(tmp_path: Path) -> None:
    result = compared(tmp_path, {"blocks": 1}, {"blocks": 6})
    assert {one.verdict for one in result.changes} == {"no interval"}


def test_runs_without_a_common_cell_have_no_changes(tmp_path: Path) -> None:
    result = compared(tmp_path, {"cells": models()[:2]}, {"cells": models()[2:4]})
    assert (result.verdict.status, list(result.changes), list(result.counts)) == ("ok", [], [])


def test_the_same_run_shows_no_change(tmp_path: Path) -> None:
    folder = run(tmp_path, models()[:4], 1)
    result = compare_folders(folder, folder, ratios=False)
    assert np.allclose([one.value or 0 for one in result.changes], 1)
    assert "distinguishable" not in {one.verdict for one in result.changes}
    assert result.differences == []


def test_capacity_and_service_time_are_compared_where_they_were_measured(tmp_path: Path) -> None:
    cells = models()[:2]
    result = compared(tmp_path, {"cells": searched(cells, 300.0)}, {"cells": searched(cells, 150.0)})
    found = change(result, "pg-sync-persistent", "capacity_rps")
    assert [found.base, found.new] == pytest.approx([300, 150])
    assert (found.value or 0) == pytest.approx(0.5)
    assert (change(result, "pg-sync-persistent", "service_ms.p95").value or 0) == pytest.approx(1, rel=0.1)


def test_a_capacity_that_nothing_bounds_has_no_ratio(tmp_path: Path) -> None:
    cells = models()[:2]
    result = compared(tmp_path, {"cells": searched(cells, failed={3: None})}, {"cells": searched(cells)})
    found = change(result, "pg-sync-persistent", "capacity_rps")
    assert found.value is None
    assert found.reason.startswith("base: pg-sync-persistent: the most that was tried was held")
