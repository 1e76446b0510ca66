"""From estimates to verdicts: one family of comparisons at a time, and the words for what came out."""

import math
from collections.abc import Sequence

from runner.analysis.inference import ALPHA, Estimate, detectable, holm, interval_of, p_value
from runner.analysis.model import ComparisonVerdict, Judgement, Ratio

#: With two blocks nothing checks what the t test takes for granted.
FEWEST_BLOCKS = 3
#: A comparison that would have missed a difference of a quarter says nothing by finding none.
LARGEST_DETECTABLE = 0.25


def judge(family: Sequence[Estimate]) -> list[Judgement]:
    """Verdicts on comparisons that belong together: their false alarms together are held to ALPHA, by Holm.

    The intervals are each comparison's own, at 95 %.
    """
    p_values = [p_value(estimate) for estimate in family]
    known = [p for p in p_values if p is not None]
    all_adjusted = iter(holm(known))
    judged = []
    for estimate, p in zip(family, p_values, strict=True):
        adjusted = None if p is None else next(all_adjusted)
        differs = adjusted is not None and adjusted <= ALPHA and estimate.n >= FEWEST_BLOCKS
        judged.append(_judged(estimate, adjusted, len(known), level=ALPHA / 2, differs=differs))
    return judged


def judge_at(estimate: Estimate, level: float, *, differs: bool) -> Judgement:
    """The same of a comparison that was decided elsewhere, by one-sided tests of which each was at `level`.

    So each end of its interval is a one-sided bound at that level; its `family` is as many two-sided comparisons as
    would be judged as strictly.
    """
    p, family = p_value(estimate), ALPHA / (2 * level)
    return _judged(estimate, None if p is None else min(1.0, p * family), family, level=level, differs=differs)


def untested(estimate: Estimate, reason: str) -> Judgement:
    """A ratio of which nothing is claimed."""
    value = math.exp(estimate.mean)
    return Judgement(value=value, n=estimate.n, verdict="no interval", text=f"{_figure(value)}×", reason=reason)


def no_judgement(reason: str) -> Judgement:
    """Where there is nothing to judge."""
    return Judgement(value=None, n=0, verdict="no ratio", text="no ratio", reason=reason)


def is_underpowered(n: int, smallest: float) -> bool:
    """Whether finding no difference says nothing: too few blocks, or only a large difference would have been seen."""
    return n < FEWEST_BLOCKS or smallest > LARGEST_DETECTABLE


def is_doubted(ratio: Ratio) -> bool:
    """Whether a difference rests on the t test alone: the sign flips could have confirmed it and do not."""
    return ratio.verdict == "distinguishable" and ratio.sign_flip_p is not None and ratio.sign_flip_p > ALPHA


def _judged(estimate: Estimate, adjusted: float | None, family: float, *, level: float, differs: bool) -> Judgement:
    value = math.exp(estimate.mean)
    half_width = interval_of(estimate, level).half_width
    smallest = detectable(estimate, family)
    if half_width is None or smallest is None or adjusted is None:
        verdict: ComparisonVerdict = "no interval"
        return Judgement(value=value, n=estimate.n, verdict=verdict, text=judgement_text(verdict, value))
    low, high = (math.exp(estimate.mean + sign * half_width) for sign in (-1, 1))
    if differs:
        verdict = "distinguishable"
    else:
        verdict = "underpowered" if is_underpowered(estimate.n, smallest) else "not distinguishable"
    return Judgement(
        value=value,
        low=low,
        high=high,
        n=estimate.n,
        p=p_value(estimate),
        p_adjusted=adjusted,
        family=math.ceil(family),
        detectable=smallest,
        verdict=verdict,
        text=judgement_text(verdict, value, low, high, smallest),
    )


def judgement_text(
    verdict: ComparisonVerdict,
    value: float,
    low: float | None = None,
    high: float | None = None,
    smallest: float | None = None,
) -> str:
    """`1.84× (1.79–1.90)`, `not distinguishable (would have seen 6 %)`, `underpowered (would have seen 46 %)`,
    `1.84× (one block: no interval)`."""
    if low is None or high is None or smallest is None:
        return f"{_figure(value)}× (one block: no interval)"
    if verdict == "distinguishable":
        return f"{_figure(value)}× ({_figure(low)}–{_figure(high)})"
    return f"{verdict} ({would_have_seen(smallest)})"


def would_have_seen(smallest: float) -> str:
    """The smallest detectable difference in words."""
    if smallest >= 1e3:
        return "would have seen nothing"
    return f"would have seen {_percent(smallest)}"


def _percent(share: float) -> str:
    if share >= 10:
        return f"{1 + share:.0f}×"
    return f"{share * 100:.0f} %" if share >= 0.01 else f"{share * 100:.1f} %"


def _figure(value: float) -> str:
    """Three digits near 1, fewer far above, more far below."""
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
