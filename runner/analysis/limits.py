"""Whether a cell keeps the limits of a deployment, by what its attempts saw.

Speed and time vary from block to block, so while a search goes on only what is shown to miss its limit is dropped: by
one-sided t tests whose levels add up to ALPHA over all settings, limits and looks. Divided by as many tests, a few
blocks show nothing but a gross miss, so few looks are taken. In the end the median decides, without a test: what
misses a limit by it is not recommended.
"""

import math
from collections.abc import Sequence

import numpy as np

from runner.analysis.advice_model import Candidate
from runner.analysis.inference import ALPHA, p_value_above, paired
from runner.matrix.limits import AdviseSpec
from runner.matrix.slo import LEFT_BEHIND
from runner.results.schema import AttemptRecord

#: One attempt that is invalid may be the machine's fault; two are the cell's.
MOST_INVALID = 1
#: The blocks after which what varies is tested.
LOOKS = (3, 5, 8, 12)


def level_after(settings: int, limits: AdviseSpec, block: int) -> float:
    """Of one test of a limit after a block, in a search that began with so many settings; 0 is no test."""
    varying = sum(limit is not None for limit in (limits.p95, limits.rate))
    return ALPHA / (settings * varying * len(LOOKS)) if varying and block in LOOKS else 0.0


def shortfall(
    candidate: Candidate, attempts: Sequence[AttemptRecord], limits: AdviseSpec, level: float | None = None
) -> str:
    """What the cell misses, in words; empty where it keeps all limits.

    Counts are what they are. Of speed and time: what tests of this level show to be missed, or, without one, what the
    median misses.
    """
    sound = [record for record in attempts if record.verdict.status == "ok"]
    return (
        _broken(attempts, sound)
        or candidate.budget.at_least(_peak(sound)).overdrawn
        or _memory(sound, limits)
        or _slow(sound, limits, level)
        or _weak(sound, limits, level)
    )


def kept(attempts: Sequence[AttemptRecord], limits: AdviseSpec) -> list[str]:
    """What there is to say of the limits that a cell keeps, with their figures."""
    sound = [record for record in attempts if record.verdict.status == "ok"]
    lines = []
    if limits.p95 is not None:
        seen = _times(sound)
        lines.append(f"p95 {_span(seen)} ms of {limits.p95 * 1000:g} ms allowed")
    if limits.rate is not None:
        seen = [rate * limits.hosts for rate in _rates(sound)]
        lines.append(
            f"{_span(seen)} requests/s on this machine for {limits.rate:g} expected, hosts taken as {limits.hosts}"
        )
    memory = max((_memory_of(record) for record in sound), default=0)
    if memory:
        allowed = f" of {limits.memory / 1e6:.0f} MB allowed" if limits.memory is not None else ""
        lines.append(f"{memory / 1e6:.0f} MB on a host at the peak{allowed}; twice that while it restarts")
    return lines


def _broken(attempts: Sequence[AttemptRecord], sound: Sequence[AttemptRecord]) -> str:
    failed = [record.verdict.reason for record in attempts if record.verdict.status == "failed"]
    if failed:
        return f"failed: {failed[0].splitlines()[0] if failed[0] else ''}"
    invalid = [record.verdict.reason for record in attempts if record.verdict.status != "ok"]
    if len(invalid) > MOST_INVALID:
        return f"invalid: {invalid[0].splitlines()[0] if invalid[0] else ''}"
    errors = sum(kind.count for record in sound for kind in record.errors.values())
    return f"{errors} of {sum(record.requests for record in sound)} requests failed" if errors else ""


def _peak(sound: Sequence[AttemptRecord]) -> int:
    return max((record.connections.peak for record in sound if record.connections is not None), default=0)


def _memory_of(record: AttemptRecord) -> int:
    parts = (record.resources.get(name) for name in ("app", "pooler"))
    return sum(part.peak_memory_bytes or 0 for part in parts if part is not None)


def _memory(sound: Sequence[AttemptRecord], limits: AdviseSpec) -> str:
    most = max((_memory_of(record) for record in sound), default=0)
    if limits.memory is None or most <= limits.memory:
        return ""
    return f"takes {most / 1e6:.0f} MB on a host for {limits.memory / 1e6:.0f} MB allowed"


def _times(sound: Sequence[AttemptRecord]) -> list[float]:
    found = (record.latency_ms.p95 for record in sound if record.latency_ms is not None)
    return [value for value in found if value is not None]


def _rates(sound: Sequence[AttemptRecord]) -> list[float]:
    """Of one host: the capacity where it was searched, else what was answered."""
    return [value for record in sound if (value := _rate(record)) is not None]


def _rate(record: AttemptRecord) -> float | None:
    """None where nothing is known of it: also where the generator could not make the lowest rate that was tried."""
    if record.capacity is None:
        return record.throughput_rps
    if record.capacity.held_rps is None and record.capacity.failed_rps is not None:
        # A rate was missed twice, and none below it was held.
        return 0.0
    return record.capacity.held_rps


def _slow(sound: Sequence[AttemptRecord], limits: AdviseSpec, level: float | None) -> str:
    if limits.p95 is None:
        return ""
    allowed = limits.p95 * 1000
    seen = _times(sound)
    missed = is_missed([math.log(value / allowed) for value in seen if value > 0], level)
    return f"p95 is {_span(seen)} ms for {allowed:g} ms allowed" if missed else ""


def _weak(sound: Sequence[AttemptRecord], limits: AdviseSpec, level: float | None) -> str:
    if limits.rate is None:
        return ""
    seen = [rate * limits.hosts for rate in _rates(sound)]
    lacking = (_lacking(record, limits.rate / limits.hosts) for record in sound)
    missed = is_missed([value for value in lacking if value is not None], level)
    return f"answers {_span(seen)} requests/s on all hosts for {limits.rate:g} expected" if missed else ""


def _lacking(record: AttemptRecord, wanted: float) -> float | None:
    """The logarithm of the rate that a host has to answer over its own; None where nothing is known of that."""
    rate = _rate(record)
    if rate is None:
        return None
    if rate <= 0:
        return math.inf
    lacking = math.log(wanted / rate)
    return min(lacking, 0.0) if _kept_up(record) else lacking


def _kept_up(record: AttemptRecord) -> bool:
    """Whether all left that was due on a schedule of fixed rate, which is nowhere below the rate that is wanted.

    What its rate lacks then is the chance of the moments at which requests were due, and no fault of the setting's.
    """
    arrivals = record.arrivals
    return record.capacity is None and arrivals is not None and arrivals.dropped <= LEFT_BEHIND * arrivals.due


def is_missed(excess: Sequence[float], level: float | None) -> bool:
    """Whether figures are above a limit, each as the logarithm of its ratio to that: as `shortfall` has it.

    Infinite is what is beyond all measure, as no answer at all is. A t test knows no such figure: there it counts as
    the worst of the others, and where there are none, the limit is missed at the first look.
    """
    if not excess:
        return False
    if level is None:
        return float(np.median(excess)) > 0
    finite = [value for value in excess if value < math.inf]
    if not finite:
        return level > 0
    p = p_value_above(paired([min(value, max(finite)) for value in excess]))
    return p is not None and p < level


def _span(values: Sequence[float]) -> str:
    """`61.2 (58.0 to 64.1)`: the median, the least and the most."""
    if not values:
        return "–"
    low, high = min(values), max(values)
    middle = f"{float(np.median(values)):.4g}"
    return middle if len(values) == 1 else f"{middle} ({low:.4g} to {high:.4g})"
