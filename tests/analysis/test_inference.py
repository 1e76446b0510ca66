"""Statistics against SciPy's own, and against what they promise on seeded simulations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from runner.analysis.inference import (
    ALPHA,
    POWER,
    Estimate,
    detectable,
    holm,
    interval_of,
    p_value,
    p_value_above,
    paired,
    sign_flip,
    t_interval,
    unpaired,
)

LOG_RATIOS = [0.1, 0.15, 0.2, 0.05]


def normals(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_interval_and_test_are_scipys() -> None:
    interval = t_interval(LOG_RATIOS)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(LOG_RATIOS), scale=stats.sem(LOG_RATIOS))
    assert interval.mean - (interval.half_width or 0) == pytest.approx(low)
    assert interval.mean + (interval.half_width or 0) == pytest.approx(high)
    assert p_value(paired(LOG_RATIOS)) == pytest.approx(stats.ttest_1samp(LOG_RATIOS, 0).pvalue)
    above = stats.ttest_1samp(LOG_RATIOS, 0, alternative="greater").pvalue
    assert p_value_above(paired(LOG_RATIOS)) == pytest.approx(above)


def test_two_runs_are_compared_as_scipys_welch_does() -> None:
    base, new = [0.1, 0.4, 0.2], [0.9, 0.7, 1.2, 0.8]
    welch = stats.ttest_ind(new, base, equal_var=False)
    found = unpaired(base, new)
    low, high = welch.confidence_interval(0.95)
    assert found.freedom == pytest.approx(welch.df)
    assert p_value(found) == pytest.approx(welch.pvalue)
    interval = interval_of(found)
    assert interval.mean - (interval.half_width or 0) == pytest.approx(low)
    assert interval.mean + (interval.half_width or 0) == pytest.approx(high)


@pytest.mark.parametrize("estimate", [paired([0.3]), unpaired([0.3], [0.1, 0.2])])
def test_one_block_says_nothing_about_certainty(estimate: Estimate) -> None:
    assert (p_value(estimate), p_value_above(estimate), detectable(estimate, 1)) == (None, None, None)
    assert interval_of(estimate).half_width is None


def test_blocks_that_are_all_equal_are_certain_and_warn_of_nothing() -> None:
    assert p_value(paired([0.0, 0.0, 0.0])) == 1
    assert p_value(paired([0.2, 0.2, 0.2])) == 0
    assert p_value(unpaired([1.0, 1.0], [1.0, 1.0])) == 1
    assert p_value(unpaired([1.0, 1.0], [1.5, 1.5])) == 0
    assert detectable(paired([0.2, 0.2, 0.2]), 10) == pytest.approx(0)


def test_holm_by_hand() -> None:
    """The smallest of four is held to a quarter, the next to a third; an adjusted p is never under one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_raw_p_and_bonferronis(p_values: list[float]) -> None:
    for raw, adjusted in zip(p_values, holm(p_values), strict=True):
        assert raw <= adjusted <= min(1, raw * len(p_values)) + 1e-12


def t_statistics(seed: int, runs: int, family: int, blocks: int, effect: float = 0.0) -> np.ndarray:
    values = normals(seed, runs, family, blocks) + effect
    return np.asarray(stats.ttest_1samp(values, 0, axis=-1).pvalue)


@pytest.mark.parametrize("blocks", [3, 6])
def test_holm_keeps_the_familys_false_alarms(blocks: int) -> None:
    """10,000 A/A runs of 16 comparisons: 5 % within what 10,000 runs can tell (three standard deviations)."""
    p_values = t_statistics(1, 10_000, 16, blocks)
    alarms = np.mean([min(holm(family)) <= ALPHA for family in p_values.tolist()])
    assert alarms <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 10_000)
    assert np.mean(p_values.min(axis=1) <= ALPHA) > 0.5


def test_holm_keeps_false_alarms_where_others_differ_and_shared_references_correlate() -> None:
    """Half of the ratios truly differ, all share one reference's luck: the other half's alarms stay at 5 %."""
    values = normals(2, 5000, 16, 4) + normals(3, 5000, 1, 4)
    values[:, 8:] += 10
    p_values = np.asarray(stats.ttest_1samp(values, 0, axis=-1).pvalue)
    alarms = np.mean([min(holm(family)[:8]) <= ALPHA for family in p_values.tolist()])
    assert alarms <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 5000)


@pytest.mark.parametrize(("blocks", "effect"), [(2, 0.0), (3, 0.1), (8, 0.1)])
def test_the_interval_covers_the_truth_as_often_as_it_says(blocks: int, effect: float) -> None:
    found = [t_interval(values) for values in (effect + 0.05 * normals(4, 2000, blocks)).tolist()]
    assert 0.93 <= np.mean([abs(one.mean - effect) <= (one.half_width or 0) for one in found]) <= 0.97


def test_the_interval_between_two_runs_covers_though_they_vary_differently() -> None:
    base, new = 0.02 * normals(5, 1500, 5), 0.06 * normals(6, 1500, 5)
    found = [interval_of(unpaired(*both)) for both in zip(base.tolist(), new.tolist(), strict=True)]
    assert 0.93 <= np.mean([abs(one.mean) <= (one.half_width or 0) for one in found]) <= 0.97


@pytest.mark.parametrize(("blocks", "family"), [(3, 1), (3, 15), (6, 24), (12, 24)])
def test_the_smallest_detectable_effect_is_found_four_times_in_five(blocks: int, family: int) -> None:
    spread = 0.05
    truth = Estimate(0.0, spread / math.sqrt(blocks), blocks - 1, blocks)
    effect = math.log1p(detectable(truth, family) or 0)
    p_values = stats.ttest_1samp(effect + spread * normals(7, 20_000, blocks), 0, axis=-1).pvalue
    assert np.mean(p_values <= ALPHA / family) == pytest.approx(POWER, abs=0.01)


@pytest.mark.parametrize(("blocks", "multiple"), [(6, 2.56), (8, 1.86), (10, 1.53), (12, 1.32), (20, 0.93)])
def test_power_is_what_simulation_had_said_before(blocks: int, multiple: float) -> None:
    """One-sided, 24 comparisons, family error 5 %: in spreads of a block's log-ratio."""
    truth = Estimate(0.0, 1e-3 / math.sqrt(blocks), blocks - 1, blocks)
    assert math.log1p(detectable(truth, 24 / 2) or 0) * 1e3 == pytest.approx(multiple, rel=0.03)


def test_sign_flips_by_enumeration() -> None:
    values = [0.3, 0.1, 0.25, -0.05, 0.2, 0.15, 0.4]
    signs = 1 - 2 * ((np.arange(2**7)[:, None] >> np.arange(7)) & 1)
    means = np.abs((signs * values).mean(axis=1))
    assert sign_flip(values) == pytest.approx(np.mean(means >= np.mean(values) - 1e-12))
    assert sign_flip(values[:5]) is None


def test_sign_flips_keep_their_level_whatever_the_distribution() -> None:
    """Cauchy: no mean, no variance; seven blocks, where only multiples of 2 / 2⁷ can be."""
    values = np.random.default_rng(8).standard_cauchy((500, 7))
    assert np.mean([(sign_flip(list(blocks)) or 0) <= ALPHA for blocks in values]) <= 0.065


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=12))
def test_turning_a_comparison_round_turns_its_interval_round(log_ratios: list[float]) -> None:
    there, back = t_interval(log_ratios), t_interval([-value for value in log_ratios])
    assert there.mean == pytest.approx(-back.mean)
    assert there.half_width == pytest.approx(back.half_width)
