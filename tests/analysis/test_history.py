"""The history: what a night keeps, and how often a change is named where there is one and where there is none."""

import io
import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from runner.analysis.history import (
    SHORTEST_SEGMENT,
    Night,
    NightRatio,
    _farthest,
    add_night,
    change_points,
    night_of,
    read_history,
    series_of,
)
from runner.errors import UsageError
from runner.report.history import print_history
from tests.synthetic import models, write_run

NIGHTS = 90


def night(day: int, value: float, cell: str = "a") -> Night:
    ratio = NightRatio(cell=cell, reference="r", metric="throughput_rps", value=value, spread=0.03, n=3)
    return Night(
        date=f"2026-{1 + day // 28:02}-{1 + day % 28:02}",
        run=f"run{day}",
        name="nightly",
        matrix_hash="",
        host="",
        versions={},
        databases={},
        ratios=[ratio],
    )


def energy_by_definition(values: list[float], size: int) -> float:
    """Equation 5 of Matteson and James for one split, pair by pair."""
    sides = values[:size], values[size:]
    n, m = len(sides[0]), len(sides[1])
    across = sum(abs(x - y) for x in sides[0] for y in sides[1])
    within = [sum(abs(x - y) for x, y in itertools.combinations(side, 2)) for side in sides]
    energy = 2 * across / (n * m) - 2 * within[0] / (n * (n - 1)) - 2 * within[1] / (m * (m - 1))
    return energy * n * m / (n + m)


@pytest.mark.parametrize("n", [10, 11, 16, 17, 37])
def test_the_farthest_split_is_that_of_the_definition(n: int) -> None:
    """Of several orders of the same values, some of which are equal."""
    random = np.random.default_rng(n)
    levels, ranks = np.unique(np.round(random.normal(0, 1, n), 1), return_inverse=True)
    orders = random.permuted(np.tile(ranks, (4, 1)), axis=1)
    splits, distances = _farthest(levels, orders)
    for order, split, distance in zip(orders, splits, distances, strict=True):
        values = [float(value) for value in levels[order]]
        by_size = [energy_by_definition(values, size) for size in range(SHORTEST_SEGMENT, n - SHORTEST_SEGMENT + 1)]
        assert distance == pytest.approx(max(by_size))
        assert by_size[split - SHORTEST_SEGMENT] == pytest.approx(distance)


def test_independent_noise_seldom_looks_like_a_change() -> None:
    random = np.random.default_rng(1)
    alarms = [bool(change_points(list(random.normal(0, 0.03, NIGHTS)))) for _ in range(120)]
    assert np.mean(alarms) <= 0.05


def test_a_step_of_a_fifth_is_found_near_its_night() -> None:
    random = np.random.default_rng(2)
    for _ in range(20):
        night = int(random.integers(10, NIGHTS - 10))
        values = random.normal(0, 0.05, NIGHTS)
        values[night:] += math.log(1.2)
        found = change_points(list(values))
        assert found
        assert min(abs(start - night) for start in found) <= 2


def test_several_steps_are_found() -> None:
    values = np.random.default_rng(3).normal(0, 0.03, NIGHTS) + np.repeat([0, 0.2, 0.05], NIGHTS // 3)
    found = change_points(list(values))
    assert [round(start / 30) * 30 for start in found] == [30, 60]


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 9, [1.0] * NIGHTS, [1.0] * 45 + [9.0] + [1.0] * 44])
def test_too_few_nights_equal_ones_and_an_outlier_are_no_change(values: list[float]) -> None:
    assert change_points(values) == []


def test_a_night_keeps_ratios_their_spread_and_versions(tmp_path: Path) -> None:
    folder = write_run(tmp_path, models()[:3])
    path = add_night(tmp_path / "history", night_of(folder))
    assert path.name == "2025-11-21.json"
    (kept,) = read_history(tmp_path / "history")
    assert kept == night_of(folder)
    assert kept.databases["pg"] == "PostgreSQL 15.18"
    assert kept.versions["python"] == "3.11.2"
    found = {(ratio.cell, ratio.metric): ratio for ratio in kept.ratios}
    assert len(found) == 2 * 4
    ratio = found["pg-sync-persistent", "throughput_rps"]
    assert ratio.value == pytest.approx(1 / 0.45, rel=0.1)
    assert ratio.n == 3
    assert 0 < (ratio.spread or 0) < 0.2
    assert path.stat().st_size < 3000


def test_a_night_has_one_run(tmp_path: Path) -> None:
    add_night(tmp_path, night(1, 2.0))
    add_night(tmp_path, night(1, 2.0))
    with pytest.raises(UsageError, match="has a run already"):
        add_night(tmp_path, night(1, 2.0).model_copy(update={"run": "another"}))


def test_a_run_that_was_cut_off_or_has_no_ratio_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cut off"):
        night_of(write_run(tmp_path / "a", models()[:2], end="interrupted"))
    with pytest.raises(UsageError, match="no ratio"):
        night_of(write_run(tmp_path / "b", models()[:1]))


def test_series_follow_each_ratio_and_print_their_shifts() -> None:
    random = np.random.default_rng(5)
    nights = [night(day, (2.0 if day < 40 else 1.6) * float(np.exp(random.normal(0, 0.02)))) for day in range(60)]
    (series,) = series_of([*nights])
    (shift,) = series.shifts
    assert shift.date == nights[40].date
    assert shift.before == pytest.approx(2.0, rel=0.02)
    assert shift.after == pytest.approx(1.6, rel=0.02)
    console = Console(file=io.StringIO(), width=80)
    print_history([series], console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "60 nights, 2026-01-01 to 2026-03-04" in text
    assert re.search(rf"{shift.date}  a, throughput: [12]\.\d\d× → 1\.\d\d× \(-(19|20|21) %\)", text)


def test_an_empty_history_says_how_to_begin() -> None:
    console = Console(file=io.StringIO())
    print_history(series_of([]), console)
    assert isinstance(console.file, io.StringIO)
    assert "connbench history add RUN" in console.file.getvalue()
