"""The benchmark of large results, on small ones: that it reads what it says, as a user does."""

from pathlib import Path
from typing import Any

from benchmarks import size
from benchmarks.size import Shape
from runner.analysis.history import read_history, series_of
from runner.analysis.summary import summarise


def test_each_command_is_measured() -> None:
    kept: list[Any] = []
    results = size.measure([Shape(8, 2)], 6, kept.append)
    rows = results["commands"]
    assert [row["command"] for row in rows] == ["table", "report", "publish", "history", "publish"]
    assert rows[0]["on"] == "16 attempts (8 cells, 2 blocks)"
    assert rows[-1]["on"] == "6 nights and one run"
    for row in rows:
        assert row["cpu_seconds"] > 0
        assert row["peak_memory_bytes"] > 20_000_000
        assert row["made_bytes"] > 500
    assert len(kept) == len(rows)
    assert "| connbench history | 6 nights |" in size.page(results)


def test_runs_are_of_the_shape_that_is_asked_for(tmp_path: Path) -> None:
    folder = size.write_large_run(tmp_path, Shape(25, 2))
    summary = summarise(folder)
    assert len({cell.id for cell in summary.cells}) == 25
    assert {cell.status for cell in summary.cells} == {"ok"}
    paths = [path for path, _ in folder.attempts()]
    assert len(paths) == 50
    names = {"requests.parquet", "samples.parquet", "host.parquet", "logs", "attempt.json"}
    assert all({file.name for file in path.iterdir()} == names for path in paths)


def test_nights_have_the_changes_that_they_are_given(tmp_path: Path) -> None:
    nights = read_history(size.write_history(tmp_path, 60))
    assert len(nights) == 60
    changes = [len(series.shifts) for series in series_of(nights)]
    assert len(changes) == len(nights[0].ratios)
    # Each of the two is seen in most of them: the noise is a third of either.
    assert sum(changes) > len(changes)
