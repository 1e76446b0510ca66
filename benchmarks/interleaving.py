"""What taking turns gains: the spread of a block's log-ratio between two stacks that are the same, measured both ways.

One block is two stacks of one cell, started anew. In turns, both are alive and their windows alternate; one after the
other, the windows of the first are over before those of the second begin. The two ways alternate block by block, so
that they share machine and hour.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks.stack import warm_stacks
from runner.attempt import Attempt

CELL = "pg-uwsgi-persistent"
WINDOWS = 8
#: Wide enough for the ratio of two spreads to be seen: with ten blocks each its 95 % interval is a factor of two.
ROUNDS = 10


def measure(rounds: int = ROUNDS, keep: Callable[[Mapping[str, Any]], None] | None = None) -> dict[str, Any]:
    """Log-ratios of throughput, one for each block of either way, and their standard deviations."""
    ratios: dict[str, list[float]] = {"in turns": [], "one after the other": []}
    for _ in range(rounds):
        for way, order in (("in turns", in_turns), ("one after the other", _one_after_the_other)):
            ratios[way].append(_block(order))
            if keep is not None:
                keep(_results(ratios))
    return _results(ratios)


def in_turns(attempts: Sequence[Attempt], windows: int = WINDOWS) -> Iterable[Attempt]:
    """Whose window is next: ABBA, until each has had so many."""
    return (attempt for number in range(windows) for attempt in (attempts[::-1] if number % 2 else attempts))


def _one_after_the_other(attempts: list[Attempt]) -> Iterable[Attempt]:
    return (attempt for attempt in attempts for _ in range(WINDOWS))


def _block(order: Callable[[list[Attempt]], Iterable[Attempt]]) -> float:
    with warm_stacks(CELL, [{}, {}]) as attempts:
        for attempt in order(attempts):
            attempt.window(len(attempt.evidence.windows), 0)
        first, second = (mean_log_rate(attempt) for attempt in attempts)
    return second - first


def mean_log_rate(attempt: Attempt) -> float:
    """The mean logarithm of requests a second over the windows of an attempt."""
    rates = (one.driven.requests / (one.driven.stopped - one.driven.begun) for one in attempt.evidence.windows)
    return statistics.fmean(math.log(rate) for rate in rates)


def _results(ratios: Mapping[str, list[float]]) -> dict[str, Any]:
    return {
        "cell": CELL,
        "windows_a_block": WINDOWS,
        "ways": [
            {
                "way": way,
                "blocks": len(values),
                "sd_of_log_ratio": statistics.stdev(values) if len(values) > 1 else None,
                "log_ratios": [round(value, 5) for value in values],
            }
            for way, values in ratios.items()
        ],
    }
