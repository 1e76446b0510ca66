"""What watching the database costs: one stack's throughput with the sampler at several rates, taken in turns."""

import statistics
from typing import Any

from benchmarks.pairs import ratio, throughput
from benchmarks.stack import warm_stack
from runner.attempt import Attempt
from runner.results.schema import SamplerQuality
from runner.sampling.database import DatabaseSampler

CELL = "pg-uwsgi-persistent"
RATES = (20.0, 100.0)
ROUNDS = 20


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """For each rate the throughput with it beside the one without, and the sampler's own CPU time."""
    with warm_stack(CELL) as attempt:
        prepared = attempt.stage.prepared
        prepared.sampler.unwatch(attempt.account.database)
        samplers = {
            rate: DatabaseSampler(
                prepared.database, attempt.stage.provider, rate, attempt.stage.folder.path / f"samples-{rate:.0f}"
            )
            for rate in RATES
        }
        found = _in_turns(attempt, samplers, rounds)
        qualities = {rate: sampler.stop() for rate, sampler in samplers.items()}
    rows = [_row(rate, found, qualities[rate]) for rate in RATES]
    return {"cell": CELL, "unwatched_rps": statistics.median(found[0.0]), "samplers": rows}


def _row(rate: float, found: dict[float, list[float]], quality: SamplerQuality | None) -> dict[str, Any]:
    assert quality is not None, "the sampler ended by itself"
    own = quality.cpu_seconds / (quality.taken / quality.achieved_per_second)
    late = quality.late / quality.taken
    return {"looks_per_second": rate, **ratio(found[rate], found[0.0]), "share_of_a_core": own, "late_share": late}


def _in_turns(attempt: Attempt, samplers: dict[float, DatabaseSampler], rounds: int) -> dict[float, list[float]]:
    """Requests a second by sampling rate (0: nobody looks): one window each a round, every other in reverse."""
    found: dict[float, list[float]] = {rate: [] for rate in (0.0, *samplers)}
    for turn in range(rounds):
        for rate in sorted(found, reverse=bool(turn % 2)):
            sampler = samplers.get(rate)
            if sampler is not None:
                sampler.watch(attempt.account.database)
            attempt.window(len(attempt.evidence.windows), 0)
            found[rate].append(throughput(attempt.evidence.windows[-1]))
            if sampler is not None:
                sampler.unwatch(attempt.account.database)
    return found
