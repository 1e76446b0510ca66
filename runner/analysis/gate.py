"""Whether a candidate is slower than its base by more than a limit: decided in two looks, the second on fresh blocks.

The first look is taken after each block from FIRST_LOOK on, and ends at the first sight of a slow-down beyond the
limit, or of none. Looking often finds what is not there, so a sight proves nothing: fresh blocks, their number chosen
by the spread seen up to then, are looked at once. A false alarm needs both to err; the second alone does so in one
gate of twenty at a slow-down of exactly the limit, which the simulations in the tests put at about one in a hundred for
both (Wassmer and Brannath, "Group Sequential and Confirmatory Adaptive Designs in Clinical Trials" (2016), on why a
test of fresh data needs no correction for looks at the old). Everything on log-ratios base / candidate, one a block.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import nctdtr, stdtrit

from runner.analysis.frames import latest_of_each_block
from runner.analysis.inference import paired, t_interval
from runner.analysis.ratios import Comparison
from runner.analysis.summary import sound_comparison
from runner.models import Strict
from runner.results.schema import SCHEMA_VERSION
from runner.results.store import RunFolder

if TYPE_CHECKING:
    import pandas as pd

BASE, CANDIDATE = "base", "candidate"
#: What is gated, and what is only told.
GATED_METRIC = "throughput_rps"
TOLD_METRIC = "resources.app.cpu_seconds_per_request"

#: How often a bound may be on the wrong side of the truth: each is one end of a one-sided 95 % t interval.
ALPHA = 0.05
#: The fewest blocks that are looked at, and the most that the first look takes.
FIRST_LOOK, LAST_LOOK = 3, 12
#: After so many blocks of which none counts no more are tried.
IN_VAIN = 6
#: Fresh blocks of the confirmation: enough to find a slow-down of twice the limit with this probability.
CONFIRMING_POWER = 0.95
FEWEST_CONFIRMING, MOST_CONFIRMING = 4, 12
#: The spread of a few blocks is easily half of the true one. Two identical stacks of four workers on two shared cores
#: had this standard deviation from block to block, and a gate does not plan on less.
LEAST_SPREAD = 0.03

GateVerdict = Literal["pass", "warn", "fail", "underpowered"]


class Look(Strict):
    """A slow-down as the share of requests a second that is lost, with one-sided 95 % bounds; 0.1 is 10 %.

    `blocks` are the numbers of those that it rests on; `spread` is the standard deviation of their log-ratios.
    """

    blocks: Sequence[int]
    slowdown: float
    low: float
    high: float
    spread: float


class LeftOut(Strict):
    """A block that does not count, and why."""

    block: int
    side: str
    status: str
    reason: str


class CpuRatio(Strict):
    """The app's CPU time a request, candidate / base, with its 95 % t interval over all blocks that count."""

    value: float
    low: float | None
    high: float | None


class GateResult(Strict):
    """gate.json. `verdict` None: the run came to no end, so there is none."""

    schema_version: int = SCHEMA_VERSION
    metric: str = GATED_METRIC
    limit: float
    verdict: GateVerdict | None
    reason: str
    first: Look | None = None
    confirmation: Look | None = None
    cpu: CpuRatio | None = None
    left_out: Sequence[LeftOut] = ()


@dataclass(frozen=True)
class Bounds:
    """A mean of log-ratios with its one-sided bounds."""

    mean: float
    low: float
    high: float
    spread: float


@dataclass(frozen=True)
class Decision:
    """What some blocks come to. `verdict` None: more are wanted. `first` and `confirming` count blocks of each look."""

    verdict: GateVerdict | None
    reason: str
    first: int
    confirming: int = 0


def bounds(slowdowns: Sequence[float]) -> Bounds:
    """Mean and one-sided 95 % bounds of two blocks or more."""
    estimate = paired(slowdowns)
    assert estimate.error is not None, "a single block has no bounds"
    half = _quantile(estimate.n - 1, 1 - ALPHA) * estimate.error
    return Bounds(estimate.mean, estimate.mean - half, estimate.mean + half, estimate.error * math.sqrt(estimate.n))


def decide(slowdowns: Sequence[float], limit: float) -> Decision:
    """The verdict on blocks in their order; the same blocks always come to the same.

    `limit` is the share of requests a second that may be lost: 0.05.
    """
    allowed = -math.log1p(-limit)
    for n in range(FIRST_LOOK, min(len(slowdowns), LAST_LOOK) + 1):
        seen = bounds(slowdowns[:n])
        if seen.low > allowed:
            return _confirm(slowdowns, n, seen, limit)
        if seen.high <= allowed:
            return Decision("pass", f"slower by less than {limit:.0%}, if at all", n)
        if n == LAST_LOOK:
            return _undecided(seen, n, limit)
    return Decision(None, "more blocks are wanted", len(slowdowns))


def _confirm(slowdowns: Sequence[float], first: int, seen: Bounds, limit: float) -> Decision:
    allowed = -math.log1p(-limit)
    wanted = confirming_blocks(seen, limit)
    fresh = slowdowns[first : first + wanted]
    if len(fresh) < wanted:
        return Decision(None, f"confirming with {wanted} fresh blocks", first, len(fresh))
    if bounds(fresh).low > allowed:
        return Decision("fail", f"slower by more than {limit:.0%}, and {wanted} fresh blocks say so too", first, wanted)
    return Decision("warn", f"seemed slower by more than {limit:.0%}; fresh blocks do not confirm it", first, wanted)


def confirming_blocks(seen: Bounds, limit: float) -> int:
    """How many fresh blocks find a slow-down of twice the limit, or the least that was seen if that is more."""
    allowed = -math.log1p(-limit)
    excess = max(-math.log1p(-2 * limit), seen.low) - allowed
    spread = max(seen.spread, LEAST_SPREAD)
    sizes = range(FEWEST_CONFIRMING, MOST_CONFIRMING)
    return next((n for n in sizes if _power(n, excess / spread) >= CONFIRMING_POWER), MOST_CONFIRMING)


def _power(n: int, effect: float) -> float:
    """The chance that n blocks' lower bound is above 0 where the truth is `effect` standard deviations above it."""
    return 1 - float(nctdtr(n - 1, math.sqrt(n) * effect, _quantile(n - 1, 1 - ALPHA)))


@cache
def _quantile(freedom: int, p: float) -> float:
    return float(stdtrit(freedom, p))


def _undecided(seen: Bounds, n: int, limit: float) -> Decision:
    if seen.low > 0:
        return Decision("warn", f"slower, but {n} blocks cannot tell whether by more than {limit:.0%}", n)
    reason = f"{n} blocks can neither show a slow-down nor rule out one of more than {limit:.0%}"
    return Decision("underpowered", reason, n)


def judge_gate(folder: RunFolder, limit: float, *, finished: bool) -> GateResult:
    """What a gate's run shows up to now. `finished`: no block will be added; before that, no verdict may come of it."""
    comparison = sound_comparison(folder)
    slowdowns, left_out = _blocks(folder, comparison)
    decision = _broken(folder, slowdowns) or decide(slowdowns.to_list(), limit)
    verdict, reason = decision.verdict, decision.reason
    if verdict is None and finished:
        verdict, reason = "underpowered", f"{len(slowdowns)} blocks that count are too few for a verdict"
    first, fresh = (
        _look(part)
        for part in (
            slowdowns.iloc[: decision.first],
            slowdowns.iloc[decision.first : decision.first + decision.confirming],
        )
    )
    cpu = _cpu_ratio(comparison)
    return GateResult(
        limit=limit, verdict=verdict, reason=reason, first=first, confirmation=fresh, cpu=cpu, left_out=left_out
    )


def _blocks(folder: RunFolder, comparison: Comparison) -> tuple["pd.Series[float]", list[LeftOut]]:
    """Log-ratios base / candidate by block, and the blocks that do not count."""
    records = latest_of_each_block([record for _, record in folder.attempts()])
    left_out = [
        LeftOut(block=record.block, side=record.cell, status=record.verdict.status, reason=record.verdict.reason)
        for record in records
        if record.verdict.status != "ok"
    ]
    logs = comparison.log_ratios(BASE, CANDIDATE, GATED_METRIC)
    infinite = logs[~np.isfinite(logs)]
    for block, value in infinite.items():
        side = CANDIDATE if value > 0 else BASE
        reason = "no request was answered well in one of its windows"
        left_out.append(LeftOut(block=int(str(block)), side=side, status="invalid", reason=reason))
    return logs[np.isfinite(logs)].sort_index(), sorted(left_out, key=lambda one: (one.block, one.side))


def _broken(folder: RunFolder, slowdowns: "pd.Series[float]") -> Decision | None:
    """A side that failed in each of the first blocks will not do better in more, and nothing passes that never ran."""
    records = latest_of_each_block([record for _, record in folder.attempts()])
    for side in (BASE, CANDIDATE):
        failed = [record for record in records if record.cell == side and record.verdict.status == "failed"]
        if slowdowns.empty and len(failed) >= FIRST_LOOK and all(r in failed for r in records if r.cell == side):
            return Decision("fail", f"the {side} failed in every block: {failed[0].verdict.reason}", 0)
    if slowdowns.empty and len({record.block for record in records}) >= IN_VAIN:
        return Decision("underpowered", f"none of the first {IN_VAIN} blocks counts", 0)
    return None


def _look(slowdowns: "pd.Series[float]") -> Look | None:
    if len(slowdowns) < 2:
        return None
    seen = bounds(slowdowns.to_list())
    return Look(
        blocks=[int(str(block)) for block in slowdowns.index],
        slowdown=-math.expm1(-seen.mean),
        low=-math.expm1(-seen.low),
        high=-math.expm1(-seen.high),
        spread=seen.spread,
    )


def _cpu_ratio(comparison: Comparison) -> CpuRatio | None:
    logs = comparison.log_ratios(CANDIDATE, BASE, TOLD_METRIC)
    logs = logs[np.isfinite(logs)]
    if logs.empty:
        return None
    found = t_interval(logs.to_list())
    low, high = (
        None if found.half_width is None else math.exp(found.mean + sign * found.half_width) for sign in (-1, 1)
    )
    return CpuRatio(value=math.exp(found.mean), low=low, high=high)
