"""Ratios: exact on small frames; coverage and false alarms of whole runs on seeded simulations."""

import math

import numpy as np
import pandas as pd
import pytest

from runner.analysis.frames import windows_frame
from runner.analysis.inference import Estimate, p_value, paired
from runner.analysis.model import Ratio
from runner.analysis.ratios import RATIO_METRICS, Comparison
from runner.results.schema import CellRecord

CPU = "resources.app.cpu_seconds_per_request"


def windows(rows: list[dict[str, float | str]]) -> pd.DataFrame:
    """Rows with what matters to the test; the rest is filled in."""
    whole = {"position": 0, "seconds": 1.0, "driven_requests": 100, "p50": 10.0, "p95": 20.0, "cpu_app": 1.0}
    made = [{"host": "one", "group": "all", **whole, "requests": row["successes"], **row} for row in rows]
    return pd.DataFrame(made, columns=windows_frame([]).columns)


def ratio(table: pd.DataFrame, cell: str, reference: str, metric: str) -> Ratio:
    (found,) = Comparison(table).family([(cell, reference)], metric)
    return found


def row(cell: str, block: int, number: int, successes: int, **more: float | str) -> dict[str, float | str]:
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
    assert ratio(table, "a", "r", "throughput_rps").value == pytest.approx(2)


def test_rounds_and_blocks_that_only_one_of_the_two_has_are_left_out() -> None:
    table = windows(
        [
            *(row("a", 0, 0, 200), row("r", 0, 0, 100)),
            *(row("a", 0, 1, 999), row("a", 1, 0, 999), row("r", 2, 0, 999)),
        ]
    )
    found = ratio(table, "a", "r", "throughput_rps")
    assert found.value == pytest.approx(2)
    assert found.n == 1


def test_processor_time_is_compared_by_the_blocks_sums() -> None:
    table = windows(
        [
            *(row("a", 0, 0, 10, cpu_app=0.0), row("a", 0, 1, 10, cpu_app=4.0)),
            *(row("r", 0, 0, 10, cpu_app=1.0), row("r", 0, 1, 10, cpu_app=1.0, driven_requests=300)),
        ]
    )
    assert ratio(table, "a", "r", CPU).value == pytest.approx((4 / 200) / (2 / 400))


def test_one_block_gives_a_ratio_without_interval() -> None:
    table = windows([row("a", 0, 0, 184), row("r", 0, 0, 100)])
    found = ratio(table, "a", "r", "throughput_rps")
    assert found.value == pytest.approx(1.84)
    assert (found.low, found.high, found.verdict) == (None, None, "no interval")
    assert found.text == "1.84× (one block: no interval)"


def test_a_window_without_success_gives_no_ratio_in_any_metric_and_says_which() -> None:
    table = windows([row("a", 0, 0, 100), row("a", 1, 2, 0, p50=math.nan), row("r", 0, 0, 100)])
    for metric in ("throughput_rps", "latency_ms.p50", CPU):
        found = ratio(table, "a", "r", metric)
        assert found.value is None
        assert found.reason == "a: no request answered well in window 3 of block 1"


@pytest.mark.parametrize(("cell", "reference"), [("a", "nobody"), ("nobody", "a")])
def test_a_cell_without_windows_gives_no_ratio(cell: str, reference: str) -> None:
    found = ratio(windows([row("a", 0, 0, 100)]), cell, reference, "throughput_rps")
    assert (found.value, found.reason) == (None, "no block in which both have windows that count")


def test_processor_time_below_its_clock_gives_no_ratio() -> None:
    table = windows([row("a", 0, 0, 100, cpu_app=0.0), row("r", 0, 0, 100)])
    assert ratio(table, "a", "r", CPU).reason == "too small to measure"


def test_the_reference_itself_and_cells_without_one_have_no_ratio() -> None:
    cells = [
        CellRecord(id=name, axes={}, params={}, reference=reference, predicted={})
        for name, reference in (("r", "r"), ("a", "r"), ("free", None))
    ]
    table = windows([row(name, 0, 0, 100) for name in ("r", "a", "free")])
    assert {found.cell for found in Comparison(table).with_references(cells)} == {"a"}


def test_nothing_at_all_is_no_error() -> None:
    assert ratio(windows_frame([]), "a", "r", "throughput_rps").value is None


def simulate(seed: int, pairs: int, blocks: int, effect: float) -> pd.DataFrame:
    """Windows of pairs a0 and r0, a1 and r1, …: drift of a pair (a group), luck of a start, noise of a window."""
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
                    "group": [f"pair {n}" for n in pair],
                    "block": block,
                    "round": number,
                    "successes": rates.ravel(),
                }
            )
        )
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(host="one", position=0, seconds=1.0, driven_requests=100, p50=10.0, p95=20.0, cpu_app=1.0)


def cells(pairs: int) -> list[CellRecord]:
    return [CellRecord(id=f"a{n}", axes={}, params={}, reference=f"r{n}", predicted={}) for n in range(pairs)]


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Comparisons of three blocks through the whole path of frames."""
    effect = math.log(1.1)
    pairs = [(f"a{n}", f"r{n}") for n in range(1000)]
    found = Comparison(simulate(20, pairs=1000, blocks=3, effect=effect)).family(pairs, "throughput_rps")
    covered = np.mean([(r.low or 0) <= math.exp(effect) <= (r.high or 0) for r in found])
    assert 0.93 <= covered <= 0.97


def test_runs_in_which_nothing_differs_name_a_difference_in_at_most_one_of_twenty() -> None:
    """100 A/A runs of 15 comparisons over three blocks, out of one frame: its pairs are independent."""
    runs, size = 100, 15
    comparison = Comparison(simulate(4, pairs=runs * size, blocks=3, effect=0.0))
    alarms = alone = 0
    for run in range(runs):
        pairs = [(f"a{n}", f"r{n}") for n in range(run * size, (run + 1) * size)]
        found = comparison.family(pairs, "throughput_rps")
        alarms += any(ratio.verdict == "distinguishable" for ratio in found)
        by_themselves = [paired(comparison.log_ratios(*pair, "throughput_rps").to_list()) for pair in pairs]
        alone += any((p_value(one) or 1) <= 0.05 for one in by_themselves)
    assert alarms / runs <= 0.05
    assert alone / runs > 0.4, "looked at one by one more than two runs of five would have named one"


def test_each_metric_is_a_family_of_all_ratios() -> None:
    found = Comparison(simulate(1, pairs=4, blocks=3, effect=0.5)).with_references(cells(4))
    assert [ratio.metric for ratio in found] == list(RATIO_METRICS) * 4
    assert {ratio.family for ratio in found} == {4}


def test_the_sign_flips_are_there_from_six_blocks_on() -> None:
    for blocks, expected in ((5, None), (6, 2 / 2**6)):
        found = ratio(simulate(1, pairs=1, blocks=blocks, effect=0.5), "a0", "r0", "throughput_rps")
        assert found.sign_flip_p == (None if expected is None else pytest.approx(expected))


def on_hosts(seed: int, pairs: int, blocks: tuple[int, ...]) -> pd.DataFrame:
    """Pairs that do not differ, `blocks` of them on each host; each host favours one or the other a little."""
    random = np.random.default_rng(seed)
    hosts = np.repeat(np.arange(len(blocks)), blocks)
    favour = random.normal(0, 0.03, (pairs, len(blocks)))[:, hosts]
    frames = []
    for name, shift in (("a", favour), ("r", 0 * favour)):
        rates = np.exp(6 + shift + random.normal(0, 0.02, favour.shape))
        pair, block = (axis.ravel() for axis in np.indices(favour.shape))
        cell = [f"{name}{n}" for n in pair]
        frames.append(pd.DataFrame({"cell": cell, "group": "all", "block": block, "successes": rates.ravel()}))
    frame = pd.concat(frames, ignore_index=True)
    frame["host"] = [f"h{hosts[block]}" for block in frame["block"]]
    return frame.assign(round=0, position=0, seconds=1.0, driven_requests=100, p50=10.0, p95=20.0, cpu_app=1.0)


@pytest.mark.parametrize("blocks", [(3, 3, 3, 3), (5, 2, 4, 1)])
def test_hosts_that_favour_one_cell_make_no_false_winner(blocks: tuple[int, ...]) -> None:
    """Blocks of one host are no independent witnesses: taken as such they cry wolf three times as often."""
    comparison = Comparison(on_hosts(31, pairs=500, blocks=blocks))
    pairs = [(f"a{n}", f"r{n}") for n in range(500)]
    estimates = [comparison.estimate(*pair, "throughput_rps") for pair in pairs]
    found = [one for one in estimates if isinstance(one, Estimate)]
    naive = [paired(comparison.log_ratios(*pair, "throughput_rps").to_list()) for pair in pairs]
    alarms, naively = (np.mean([(p_value(one) or 0) < 0.05 for one in every]) for every in (found, naive))
    assert {one.n for one in found} == {4}
    assert alarms <= 0.065
    assert naively >= 0.15


def test_a_block_whose_cells_ran_on_two_hosts_has_no_ratio() -> None:
    rows = [row(name, block, 0, 100, host=f"h{block}") for name in ("a", "r") for block in (0, 1)]
    rows += [row("a", 2, 0, 100, host="h0"), row("r", 2, 0, 50, host="h1")]
    comparison = Comparison(windows(rows))
    assert list(comparison.log_ratios("a", "r", "throughput_rps").index) == [0, 1]


def test_one_host_is_judged_by_its_blocks() -> None:
    rows = [row(name, block, 0, 100 + block) for name in ("a", "r") for block in range(4)]
    comparison = Comparison(windows(rows))
    assert len(comparison.independent("a", "r", "throughput_rps")) == 4
