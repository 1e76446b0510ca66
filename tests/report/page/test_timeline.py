"""Connections over time: the axis, the outlines, what is left out."""

import pandas as pd
import pytest

from runner.report.page.samples import Samples, clients_of, samples_of
from runner.report.page.scales import nice_top
from runner.report.page.speed import SpeedPoint
from runner.report.page.timeline import (
    BOTTOM as LOWEST,
)
from runner.report.page.timeline import (
    FINENESS,
    HEIGHT,
    LEFT,
    SPEED_TOP,
    TOP,
    WIDTH,
    Axes,
    axes_for,
    draw,
    points_for,
    tallest,
)
from runner.results.schema import Phase

PHASES = [
    Phase(name="up", offset=0, seconds=1),
    Phase(name="count", offset=1, seconds=2),
    Phase(name="idle", offset=3, seconds=2),
    Phase(name="window", offset=60, seconds=1, index=0),
    Phase(name="window", offset=90, seconds=1, index=1),
]
BOTTOM = TOP + HEIGHT
NO_BOUNDS = (None, None)


def samples(*rows: tuple[float, int, int]) -> Samples:
    frame = pd.DataFrame(rows, columns=["offset", "active", "idle"])
    return samples_of(frame.assign(idle_in_transaction=0, waiting=0, total=frame["active"] + frame["idle"]))


def axes(connections: int) -> Axes:
    return Axes(connections=connections, rate=100, p95=50)


def test_the_axis_holds_what_was_watched_and_nothing_else() -> None:
    chart = draw(samples((1.5, 1, 0)), PHASES, axes(4), NO_BOUNDS)
    assert chart is not None
    assert [stretch.label for stretch in chart.stretches] == ["count 2 s", "idle 2 s", "2 × 1 s", ""]
    assert chart.stretches[0].x == LEFT
    assert chart.stretches[-1].x + chart.stretches[-1].width == pytest.approx(LEFT + WIDTH, abs=0.2)


def test_a_sample_holds_until_the_next_and_what_lies_between_stretches_is_not_drawn() -> None:
    seen = samples((1.0, 1, 3), (2.0, 2, 2), (30.0, 9, 9))
    chart = draw(seen, PHASES, axes(4), NO_BOUNDS)
    assert chart is not None
    areas = {area.state: area.path for area in chart.areas}
    first = chart.stretches[0]
    start, half, end, base, quarter = (
        round(place * FINENESS) for place in (first.x, first.width / 2, first.x + first.width, BOTTOM, HEIGHT / 4)
    )
    assert areas["active"] == f"M{start} {base}v-{quarter}h{half}v-{quarter}H{end}V{base}Z"
    assert areas["idle"] == f"M{start} {base}v-{4 * quarter}H{end}V{base}Z"
    assert [area.state for area in chart.areas][-1] == "active"


def test_the_scale_ignores_what_is_not_drawn() -> None:
    assert tallest(samples((1.0, 1, 3), (30.0, 50, 50)), PHASES) == 4
    assert tallest(samples(), PHASES) == 0


def test_a_bound_above_the_scale_is_not_drawn() -> None:
    for bound, drawn in ((3, True), (4, True), (5, False), (None, False)):
        chart = draw(samples((1.5, 1, 0)), PHASES, axes(4), (bound, bound))
        assert chart is not None
        assert (chart.bound is not None) == (chart.limit is not None) == drawn


def test_without_samples_or_phases_there_is_no_chart() -> None:
    assert draw(samples_of(pd.DataFrame()), PHASES, axes(4), NO_BOUNDS) is None
    assert draw(samples((1.0, 1, 0)), PHASES[:1], axes(4), NO_BOUNDS) is None


def test_of_many_samples_each_bin_keeps_its_emptiest_and_its_fullest() -> None:
    rows = [(1 + number / 1000, {777: 9, 778: 0}.get(number, 1), 0) for number in range(2000)]
    thin = samples(*rows).thinned(40)
    assert len(thin) <= 40
    assert {0, 1, 9} == set(thin.totals.tolist())
    assert list(thin.offsets) == sorted(thin.offsets)
    chart = draw(samples(*rows), PHASES, axes(10), NO_BOUNDS, most=60)
    assert chart is not None
    assert len(chart.areas[-1].path) < 1000


def test_speed_is_drawn_below_on_the_same_axis() -> None:
    speed = [SpeedPoint(60.0, 1.0, rate=100.0, p95_ms=25.0), SpeedPoint(30.0, 1.0, rate=50.0, p95_ms=None)]
    chart = draw(samples((1.0, 1, 0)), PHASES, axes(4), NO_BOUNDS, speed)
    assert chart is not None
    window = chart.stretches[2]
    ends = [round(place * FINENESS) for place in (window.x, window.x + window.width)]
    middle = (SPEED_TOP + LOWEST) / 2
    assert chart.rate == f"M{ends[0]} {SPEED_TOP * FINENESS}H{ends[1]}"
    assert chart.p95 == f"M{ends[0]} {round(middle * FINENESS)}H{ends[1]}"


def test_clients_of_a_pooler_are_a_line_of_their_own() -> None:
    looks = {"offset": [1.0, 2.0], "clients_active": [1, 2], "clients_waiting": [0, 2]}
    chart = draw(samples((1.0, 1, 0)), PHASES, axes(4), NO_BOUNDS, clients=clients_of(pd.DataFrame(looks)))
    assert chart is not None
    first = chart.stretches[0]
    start, half, end, quarter = (
        round(place * FINENESS) for place in (first.x, first.width / 2, first.x + first.width, HEIGHT / 4)
    )
    assert chart.clients == f"M{start} {round(BOTTOM * FINENESS) - quarter}h{half}v-{3 * quarter}H{end}"
    assert clients_of(pd.DataFrame()) is None


def test_bounds_far_above_what_was_seen_do_not_stretch_the_scale() -> None:
    assert axes_for(16, [16, 20, 1000], []).connections == 20
    assert axes_for(0, [], []).connections == 2


def test_the_more_cells_the_fewer_points() -> None:
    assert points_for(1) > points_for(200) > points_for(500) > points_for(5000) == points_for(50_000)


@pytest.mark.parametrize(
    ("value", "top"), [(0, 2), (1, 2), (3, 4), (5, 6), (16, 20), (61, 100), (100, 100), (101, 200)]
)
def test_axes_end_on_round_numbers(value: int, top: int) -> None:
    assert nice_top(value) == top
