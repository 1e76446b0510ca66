"""Ratios: exact on small frames, their interval's coverage and false alarms on seeded simulations."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from runner.analysis.frames import windows_frame
from runner.analysis.ratios import Comparison, ratio_text, t_interval
from runner.results.schema import CellRecord

CPU = "resources.app.cpu_seconds_per_request"


def windows(rows: list[dict[str, float | str]]) -> pd.DataFrame:
    """Rows with what matters to the test; the rest is filled in."""
    whole = {"position": 0, "seconds": 1.0, "driven_requests": 100, "p50": 10.0, "p95": 20.0, "cpu_app": 1.0}
    made = [{**whole, "requests": row["successes"], **row} for row in rows]
    return pd.DataFrame(made, columns=windows_frame([]).columns)


def row(cell: str, block: int, number: int, successes: int, **more: float) -> dict[str, float | str]:
    return {"cell": cell, "block": block, "round": number, "successes": successes, **more}


def test_log_ratios_are_averaged_over_the_rounds_of_a_block() -> None:
    table = windows(
        [
            *(row("a", 0, 0, 200), row("a", 0, 1, 800), row("r", 0, 0, 100), row("r", 0, 1, 100)),
            *(row("a", 1, 0, 300), row("r", 1, 0, 100)),
        ]
    )
    logs = Comparison(table).log_ratios("a", "r", "throughput_rps")
    assert logs.to_dict() == pytest.approx({0: (math.log(2) + math.log(8)) / 2, 1: math.log(3)})


def test_rates_are_per_second_of_window() -> None:
    table = windows([row("a", 0, 0, 100, seconds=0.5), row("r", 0, 0, 100, seconds=1.0)])
    assert Comparison(table).ratio("a", "r", "throughput_rps").value == pytest.approx(2)


def test_rounds_and_blocks_that_only_one_of_the_two_has_are_left_out() -> None:
    table = windows(
        [
            *(row("a", 0, 0, 200), row("r", 0, 0, 100)),
            *(row("a", 0, 1, 999), row("a", 1, 0, 999), row("r", 2, 0, 999)),
        ]
    )
    found = Comparison(table).ratio("a", "r", "throughput_rps")
    assert found.value == pytest.approx(2)
    assert found.n == 1


def test_processor_time_is_compared_by_the_blocks_sums() -> None:
    table = windows(
        [
            *(row("a", 0, 0, 10, cpu_app=0.0), row("a", 0, 1, 10, cpu_app=4.0)),
            *(row("r", 0, 0, 10, cpu_app=1.0), row("r", 0, 1, 10, cpu_app=1.0, driven_requests=300)),
        ]
    )
    assert Comparison(table).ratio("a", "r", CPU).value == pytest.approx((4 / 200) / (2 / 400))


def test_the_interval_is_scipys() -> None:
    log_ratios = [0.1, 0.15, 0.2, 0.05]
    interval = t_interval(log_ratios)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(log_ratios), scale=stats.sem(log_ratios))
    assert interval.mean - (interval.half_width or 0) == pytest.approx(low)
    assert interval.mean + (interval.half_width or 0) == pytest.approx(high)


def test_one_block_gives_a_ratio_without_interval() -> None:
    table = windows([row("a", 0, 0, 184), row("r", 0, 0, 100)])
    found = Comparison(table).ratio("a", "r", "throughput_rps")
    assert found.value == pytest.approx(1.84)
    assert (found.low, found.high, found.distinguishable) == (None, None, None)
    assert found.text == "1.84× (one block: no interval)"


def test_a_window_without_success_gives_no_ratio_in_any_metric_and_says_which() -> None:
    table = windows([row("a", 0, 0, 100), row("a", 1, 2, 0, p50=math.nan), row("r", 0, 0, 100)])
    for metric in ("throughput_rps", "latency_ms.p50", CPU):
        found = Comparison(table).ratio("a", "r", metric)
        assert found.value is None
        assert found.reason == "a: no request answered well in window 3 of block 1"


@pytest.mark.parametrize(("cell", "reference"), [("a", "nobody"), ("nobody", "a")])
def test_a_cell_without_windows_gives_no_ratio(cell: str, reference: str) -> None:
    found = Comparison(windows([row("a", 0, 0, 100)])).ratio(cell, reference, "throughput_rps")
    assert (found.value, found.reason) == (None, "no block in which both have windows that count")


def test_processor_time_below_its_clock_gives_no_ratio() -> None:
    table = windows([row("a", 0, 0, 100, cpu_app=0.0), row("r", 0, 0, 100)])
    assert Comparison(table).ratio("a", "r", CPU).reason == "too small to measure"


def test_the_reference_itself_and_cells_without_one_have_no_ratio() -> None:
    cells = [
        CellRecord(id=name, axes={}, params={}, reference=reference, predicted={})
        for name, reference in (("r", "r"), ("a", "r"), ("free", None))
    ]
    table = windows([row(name, 0, 0, 100) for name in ("r", "a", "free")])
    assert {found.cell for found in Comparison(table).with_references(cells)} == {"a"}


def test_nothing_at_all_is_no_error() -> None:
    assert Comparison(windows_frame([])).ratio("a", "r", "throughput_rps").value is None


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ((1.84, 1.79, 1.90, 0.02), "1.84× (1.79–1.90)"),
        ((1.01, 0.98, 1.04, 0.06), "not distinguishable (would have seen 6 %)"),
        ((1.0, 1.0, 1.0, 0.0), "not distinguishable (would have seen 0.0 %)"),
        ((0.052, 0.051, 0.053, 0.01), "0.052× (0.051–0.053)"),
        ((123.4, 99.5, 150.0, 0.2), "123× (99.5–150)"),
        ((2.0, 0.1, 40.0, 30.0), "not distinguishable (would have seen 31×)"),
    ],
)
def test_words(figures: tuple[float, float, float, float], text: str) -> None:
    assert ratio_text(*figures) == text


def simulate(seed: int, pairs: int, blocks: int, effect: float) -> pd.DataFrame:
    """Windows of pairs a0 and r0, a1 and r1, …: shared drift, the luck of each start, noise of each window."""
    random = np.random.default_rng(seed)
    shape = (pairs, blocks, 8)
    drift = random.normal(0, 0.2, shape)
    frames = []
    for name, shift in (("a", effect), ("r", 0.0)):
        luck = random.normal(0, 0.02, (pairs, blocks, 1))
        rates = np.exp(6 + shift + luck + drift + random.normal(0, 0.05, shape))
        pair, block, number = (axis.ravel() for axis in np.indices(shape))
        frames.append(
            pd.DataFrame(
                {
                    "cell": [f"{name}{n}" for n in pair],
                    "block": block,
                    "round": number,
                    "successes": rates.ravel(),
                }
            )
        )
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(position=0, seconds=1.0, driven_requests=100, p50=10.0, p95=20.0, cpu_app=1.0)


@pytest.mark.parametrize("effect", [0.0, math.log(1.1)])
def test_the_interval_covers_the_truth_as_often_as_it_says(effect: float) -> None:
    """Comparisons of three blocks through the whole path of frames; A/A for effect 0."""
    comparison = Comparison(simulate(20, pairs=2000, blocks=3, effect=effect))
    found = [comparison.ratio(f"a{n}", f"r{n}", "throughput_rps") for n in range(2000)]
    covered = np.mean([(r.low or 0) <= math.exp(effect) <= (r.high or 0) for r in found])
    assert 0.93 <= covered <= 0.97
    if effect == 0:
        assert np.mean([bool(r.distinguishable) for r in found]) == pytest.approx(1 - covered)


def test_the_smallest_detectable_effect_is_found_four_times_in_five() -> None:
    """10,000 comparisons of 6 blocks; Bloom's multiple is a little short of the non-central t's at so few."""
    random = np.random.default_rng(3)
    spread, n = 0.05, 6
    effect = (stats.t.ppf(0.975, n - 1) + stats.t.ppf(0.8, n - 1)) * spread / math.sqrt(n)
    seen = [t_interval(list(random.normal(effect, spread, n))) for _ in range(10_000)]
    power = np.mean([interval.mean > (interval.half_width or 0) for interval in seen])
    assert 0.75 <= power <= 0.82


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=12))
def test_turning_a_comparison_round_turns_its_interval_round(log_ratios: list[float]) -> None:
    there, back = t_interval(log_ratios), t_interval([-value for value in log_ratios])
    assert there.mean == pytest.approx(-back.mean)
    assert there.half_width == pytest.approx(back.half_width)
