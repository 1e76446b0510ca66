"""The search for the highest rate that one attempt holds: a step of load at a time, judged by its raw records."""

from typing import TYPE_CHECKING

import pandas as pd

from runner import figures
from runner.evidence import Step
from runner.flags import GENERATOR_CPU
from runner.load.generator import Driven
from runner.load.recorder import COUNT_WINDOW
from runner.load.records import read_records
from runner.load.search import Outcome, RateSearch
from runner.matrix.slo import LEFT_BEHIND, ServiceLevel
from runner.results.schema import Arrivals, Latency, RateStep

if TYPE_CHECKING:
    from runner.attempt import Attempt

#: Of the rate that the closed count made: low enough to be held as a rule, so that the search begins with growth.
START_SHARE = 0.5


class CapacitySearch:
    """Drives one step each time it is asked to, until the capacity is known."""

    def __init__(self, attempt: "Attempt") -> None:
        load, counted = attempt.cell.load, attempt.evidence.counted
        assert load.slo is not None, "the matrix has seen to it"
        assert counted is not None, "the count comes first"
        self._attempt = attempt
        self._slo: ServiceLevel = load.slo
        driven = counted.driven
        self._search = RateSearch(
            START_SHARE * driven.requests / (driven.stopped - driven.begun), load.search.precision
        )

    @property
    def over(self) -> bool:
        return self._search.rate is None

    @property
    def held(self) -> float | None:
        return self._search.held

    @property
    def failed(self) -> float | None:
        return self._search.failed

    def step(self) -> None:
        """Tries the next rate."""
        rate = self._search.rate
        assert rate is not None, "the search is over"
        attempt, load = self._attempt, self._attempt.cell.load
        number = len(attempt.evidence.steps)
        window = COUNT_WINDOW - 1 - number
        with attempt.phase("search", number), attempt.watching(with_memory=False) as watch:
            driven = attempt.load.window(
                window,
                users=load.users,
                lead_in=load.lead_in,
                seconds=load.search.step,
                seed=f"{attempt.stage.seed}:search:{number}",
                rate=rate,
                arrivals=load.arrivals,
            )
        requests, _ = read_records(attempt.load.records, attempt.evidence.clock_zero)
        found = judge_step(rate, driven, requests[requests["window"] == window], attempt.evidence.clock_zero, self._slo)
        attempt.evidence.steps.append(Step(found, watch.stretch(driven)))
        self._search.tried(found.outcome)


def judge_step(rate: float, driven: Driven, requests: pd.DataFrame, zero: float, slo: ServiceLevel) -> RateStep:
    """Held where the service level was kept by what was due, and what was due also left."""
    due = figures.due_between(requests, driven.start - zero, driven.end - zero)
    good = due[due["error"] == ""]
    latency = figures.latency(figures.response_ms(good))
    errors = len(due) - len(good)
    missed = [*_missed_times(latency, slo), *_missed_counts(len(due), errors, driven, slo)]
    outcome: Outcome = "missed" if missed else "held"
    if missed and driven.busiest > GENERATOR_CPU:
        outcome = "limited"
        missed.append(f"a process of the load generator used {driven.busiest:.0%} of a core")
    return RateStep(
        rate=rate,
        seconds=driven.end - driven.start,
        requests=len(due),
        errors=errors,
        arrivals=Arrivals(due=driven.due, late=driven.late, dropped=driven.dropped),
        latency_ms=latency,
        outcome=outcome,
        reason="; ".join(missed),
    )


def _missed_times(latency: Latency, slo: ServiceLevel) -> list[str]:
    seen = latency.model_dump()
    bounds = {name: seconds * 1000 for name, seconds in slo.bounds.items()}
    return [
        f"{name} was {seen[name]:.1f} ms for {bound:g}"
        for name, bound in bounds.items()
        if seen[name] is not None and seen[name] > bound
    ]


def _missed_counts(requests: int, errors: int, driven: Driven, slo: ServiceLevel) -> list[str]:
    if errors == requests:
        return ["no request was answered well"]
    missed = []
    if errors / requests > slo.errors:
        missed.append(f"{errors} of {requests} requests failed")
    if driven.dropped > LEFT_BEHIND * driven.due:
        missed.append(f"{driven.dropped} of {driven.due} requests never left")
    return missed
