"""What a few blocks allow one to say: intervals, tests, the smallest detectable effect. Everything on log-ratios.

The unit is the block. A percentile bootstrap over so few is too narrow (at 5 blocks it misses 17 % at a nominal 5 %),
a t interval is not; so everything here rests on Student's t, and `sign_flip` checks it without that assumption.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import nctdtrinc, stdtr, stdtrit

#: How often, at most, a family of comparisons in which nothing differs may name a difference.
ALPHA = 0.05
CONFIDENCE = 1 - ALPHA
#: The chance with which the smallest detectable effect would have been found.
POWER = 0.80
#: Below this log-ratio, figures that were computed alike differ by rounding alone.
ROUNDING = 1e-12
#: The fewest blocks whose sign flips can reach ALPHA: 2 / 2⁶ = 0.03.
SIGN_FLIP_BLOCKS = 6
#: Up to this many blocks the sign flips are enumerated, above it drawn.
_ENUMERATED_BLOCKS = 16
#: So many are drawn, which knows a p value near ALPHA to 0.002 (its standard error).
_DRAWN_FLIPS = 9_999
#: Flips that are looked at in one go, so that the memory they take does not grow with the blocks.
_FLIPS_AT_ONCE = 2**12
_LARGEST_LOG = 50.0


@dataclass(frozen=True)
class Estimate:
    """A mean of log-ratios over `n` blocks, its standard error (None: one block) and that one's degrees of freedom."""

    mean: float
    error: float | None
    freedom: float
    n: int


@dataclass(frozen=True)
class Interval:
    """A mean of log-ratios over `n` blocks with half its t interval; None for one block."""

    mean: float
    half_width: float | None
    n: int


def paired(log_ratios: Sequence[float]) -> Estimate:
    """One log-ratio a block, of two cells that ran beside each other."""
    n = len(log_ratios)
    error = standard_error(log_ratios) if n > 1 else None
    return Estimate(float(np.mean(log_ratios)), error, n - 1, n)


def unpaired(base: Sequence[float], new: Sequence[float]) -> Estimate:
    """`new` against `base`, blocks of two runs that know nothing of each other and need not vary alike.

    Welch, "The generalization of Student's problem when several different population variances are involved",
    Biometrika 34 (1947); `n` is the smaller number of blocks. As in `scipy.stats.ttest_ind`, which does not hand out
    the standard error and warns where all blocks are equal.
    """
    mean, n = float(np.mean(new) - np.mean(base)), min(len(base), len(new))
    if n < 2:
        return Estimate(mean, None, 0, n)
    parts = [standard_error(values) ** 2 for values in (base, new)]
    variance = sum(parts)
    scatter = parts[0] ** 2 / (len(base) - 1) + parts[1] ** 2 / (len(new) - 1)
    return Estimate(mean, math.sqrt(variance), variance**2 / scatter if scatter else n - 1, n)


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of two or more values, as `scipy.stats.sem`, which takes fifty times as long for so few."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))


def interval_of(estimate: Estimate, level: float = (1 - CONFIDENCE) / 2) -> Interval:
    """Mean ± t(1 - level, freedom) · standard error: each end is a one-sided bound at `level`.

    By default a 95 % interval of this comparison on its own.
    """
    if estimate.error is None:
        return Interval(estimate.mean, None, estimate.n)
    return Interval(estimate.mean, float(stdtrit(estimate.freedom, 1 - level)) * estimate.error, estimate.n)


def t_interval(log_ratios: Sequence[float]) -> Interval:
    """The interval of one log-ratio a block."""
    return interval_of(paired(log_ratios))


def p_value(estimate: Estimate) -> float | None:
    """Of the two-sided t test that there is no difference; None for one block."""
    if estimate.error is None:
        return None
    if estimate.error < ROUNDING:
        return 1.0 if abs(estimate.mean) < ROUNDING else 0.0
    return 2 * float(stdtr(estimate.freedom, -abs(estimate.mean) / estimate.error))


def p_value_above(estimate: Estimate) -> float | None:
    """Of the one-sided t test that the mean is not above 0; None for one block."""
    both = p_value(estimate)
    if both is None:
        return None
    return both / 2 if estimate.mean > 0 else 1 - both / 2


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values of one family, adjusted so that `≤ ALPHA` keeps the whole family's false alarms at ALPHA.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979). SciPy
    adjusts for the false discovery rate alone, which lets single false winners through.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(np.asarray(p_values, float)[order] * factors), 1)
    return [float(value) for value in adjusted]


def detectable(estimate: Estimate, family: float) -> float | None:
    """The smallest relative difference that `family` two-sided comparisons find with probability POWER each.

    The effect whose non-central t exceeds Holm's first and strictest bound, ALPHA / family, as often as POWER, with the
    standard error that was seen (Bloom, "Minimum Detectable Effects", Evaluation Review 19 (1995), takes the central t
    for it, which is a fifth too little at three blocks). 0.06 is 6 %.
    """
    if estimate.error is None:
        return None
    bound = float(stdtrit(estimate.freedom, 1 - ALPHA / (2 * family)))
    multiple = float(nctdtrinc(estimate.freedom, 1 - POWER, bound))
    return math.expm1(min(multiple * estimate.error, _LARGEST_LOG))


def sign_flip(log_ratios: Sequence[float]) -> float | None:
    """The two-sided p value of the exact sign-flip test of the mean; None for too few blocks to reach ALPHA.

    If two cells do not differ, each block's log-ratio might as well have had the other sign, whatever its distribution
    (Fisher, "The Design of Experiments" (1935), section 21). Not adjusted for the family: n blocks reach 2 / 2ⁿ and no
    less, so it can confirm a t test, not replace it.
    """
    if len(log_ratios) < SIGN_FLIP_BLOCKS:
        return None
    found = stats.permutation_test(
        (np.asarray(log_ratios, float),),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=2 ** len(log_ratios) if len(log_ratios) <= _ENUMERATED_BLOCKS else _DRAWN_FLIPS,
        batch=_FLIPS_AT_ONCE,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)
