"""Connections over time: the axis, the outlines, what is left out."""

import pandas as pd
import pytest

from runner.report.chart import HEIGHT, LEFT, TOP, WIDTH, draw, nice_top, tallest
from runner.results.schema import Phase

PHASES = [
    Phase(name="up", offset=0, seconds=1),
    Phase(name="count", offset=1, seconds=2),
    Phase(name="idle", offset=3, seconds=2),
    Phase(name="window", offset=60, seconds=1, index=0),
    Phase(name="window", offset=90, seconds=1, index=1),
]
BOTTOM = TOP + HEIGHT


def samples(*rows: tuple[float, int, int]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["offset", "active", "idle"])
    return frame.assign(idle_in_transaction=0, waiting=0, total=frame["active"] + frame["idle"])


def test_the_axis_holds_what_was_watched_and_nothing_else() -> None:
    chart = draw(samples((1.5, 1, 0)), PHASES, top=4, bound=None)
    assert chart is not None
    assert [stretch.label for stretch in chart.stretches] == ["count 2 s", "idle 2 s", "2 × 1 s", ""]
    assert chart.stretches[0].x == LEFT
    assert chart.stretches[-1].x + chart.stretches[-1].width == pytest.approx(LEFT + WIDTH, abs=0.2)


def test_a_sample_holds_until_the_next_and_what_lies_between_stretches_is_not_drawn() -> None:
    seen = samples((1.0, 1, 3), (2.0, 2, 2), (30.0, 9, 9))
    chart = draw(seen, PHASES, top=4, bound=None)
    assert chart is not None
    areas = {area.state: area.path for area in chart.areas}
    first = chart.stretches[0]
    middle, end = first.x + first.width / 2, first.x + first.width
    quarter = HEIGHT / 4
    assert areas["active"] == (
        f"M{first.x:g} {BOTTOM:g}H{first.x:.1f}V{BOTTOM - quarter:g}"
        f"H{middle:.1f}V{BOTTOM - 2 * quarter:g}H{end:.1f}V{BOTTOM:g}Z"
    )
    assert areas["idle"] == f"M{first.x:g} {BOTTOM:g}H{first.x:.1f}V{TOP:g}H{end:.1f}V{BOTTOM:g}Z"
    assert [area.state for area in chart.areas][-1] == "active"


def test_the_scale_ignores_what_is_not_drawn() -> None:
    assert tallest(samples((1.0, 1, 3), (30.0, 50, 50)), PHASES) == 4
    assert tallest(samples(), PHASES) == 0


def test_a_bound_above_the_scale_is_not_drawn() -> None:
    for bound, drawn in ((3, True), (4, True), (5, False), (None, False)):
        chart = draw(samples((1.5, 1, 0)), PHASES, top=4, bound=bound)
        assert chart is not None
        assert (chart.bound is not None) == drawn


def test_without_samples_or_phases_there_is_no_chart() -> None:
    assert draw(pd.DataFrame(), PHASES, top=4, bound=None) is None
    assert draw(samples((1.0, 1, 0)), PHASES[:1], top=4, bound=None) is None


def test_many_samples_keep_their_peaks() -> None:
    rows = [(1 + number / 1000, 9 if number == 777 else 1, 0) for number in range(2000)]
    chart = draw(samples(*rows), PHASES, top=10, bound=None)
    assert chart is not None
    active = chart.areas[-1].path
    assert f"V{round(BOTTOM - 0.9 * HEIGHT, 1):g}" in active
    assert len(active) < 3000


@pytest.mark.parametrize(
    ("value", "top"), [(0, 2), (1, 2), (3, 4), (5, 6), (16, 20), (61, 100), (100, 100), (101, 200)]
)
def test_axes_end_on_round_numbers(value: int, top: int) -> None:
    assert nice_top(value) == top
