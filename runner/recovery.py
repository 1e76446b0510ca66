"""How requests fared after each fault: counts and moments from one attempt's raw records."""

from collections.abc import Sequence
from itertools import zip_longest

import pandas as pd

from runner.evidence import Evidence, Strike
from runner.results.schema import Recovery

#: Long enough to hold some requests of a slow stack, short enough to tell recoveries apart.
BIN_SECONDS = 0.25
#: As many requests as this share of the rate before the fault: a shared machine's speed varies by some 13 %.
BACK = 0.5
#: The rate before a fault is that of at most so many seconds.
BEFORE_SECONDS = 3.0


def recoveries(evidence: Evidence, requests: pd.DataFrame) -> list[Recovery]:
    """One a fault, in their order."""
    zero = evidence.clock_zero
    answered = requests["offset"] + requests["service_ms"] / 1000
    seen = pd.DataFrame({"sent": requests["offset"], "answered": answered, "ok": requests["error"] == ""})
    stretches = [(one.driven.begun - zero, one.driven.end - zero) for one in evidence.drives]
    found = []
    for strike, following in zip_longest(evidence.strikes, evidence.strikes[1:]):
        end = float("inf") if following is None else following.begun - zero
        found.append(_recovery(strike, seen, stretches, zero, end))
    return found


def _recovery(
    strike: Strike, seen: pd.DataFrame, stretches: Sequence[tuple[float, float]], zero: float, end: float
) -> Recovery:
    struck = strike.begun - zero
    after = seen[(seen["answered"] >= struck) & (seen["answered"] < end)]
    # A server that is told to stop may still answer for a moment.
    failures = after.loc[~after["ok"], "answered"]
    fresh = after[after["ok"] & (after["sent"] >= (struck if failures.empty else failures.min()))]
    return Recovery(
        fault=strike.fault,
        offset=struck,
        seconds=strike.ended - strike.begun,
        requests=len(after),
        failed_requests=int((~after["ok"]).sum()),
        seconds_to_first_success=None if fresh.empty else float(fresh["answered"].min()) - struck,
        seconds_to_steady=_steady(after, struck, _rate_before(seen, stretches, struck)),
    )


def _rate_before(seen: pd.DataFrame, stretches: Sequence[tuple[float, float]], struck: float) -> float:
    """Successes a second in the last seconds of load before the strike; 0 where there was no load."""
    before = [(start, min(stop, struck)) for start, stop in stretches if start < struck]
    if not before:
        return 0.0
    start, stop = before[-1]
    start = max(start, stop - BEFORE_SECONDS)
    good = seen[seen["ok"] & (seen["answered"] >= start) & (seen["answered"] < stop)]
    return len(good) / (stop - start) if stop > start else 0.0


def _steady(after: pd.DataFrame, struck: float, rate: float) -> float | None:
    last_failure = after.loc[~after["ok"], "answered"].max()
    good = after.loc[after["ok"], "answered"]
    bins = ((good - struck) // BIN_SECONDS).astype(int)
    enough = bins.value_counts()
    enough = enough[enough >= max(1.0, BACK * rate * BIN_SECONDS)]
    # NaN where nothing failed: then every bin comes after it.
    clean = [number for number in enough.index if not last_failure >= struck + number * BIN_SECONDS]
    return min(clean) * BIN_SECONDS if clean else None
