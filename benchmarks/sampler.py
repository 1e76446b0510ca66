"""What watching the database costs: one stack's throughput with the sampler at several rates, taken in turns."""

import math
import statistics

from benchmarks.stack import warm_stack
from runner.analysis.inference import t_interval
from runner.attempt import Attempt
from runner.sampling.database import DatabaseSampler

CELL = "pg-uwsgi-persistent"
RATES = (20.0, 100.0)
ROUNDS = 20


def main() -> None:
    """Prints, for each rate, the ratio of the throughput with it to the one without, and the sampler's CPU time."""
    with warm_stack(CELL) as attempt:
        prepared = attempt.stage.prepared
        prepared.sampler.unwatch(attempt.account.database)
        samplers = {
            rate: DatabaseSampler(
                prepared.database, attempt.stage.provider, rate, attempt.stage.folder.path / f"samples-{rate:.0f}"
            )
            for rate in RATES
        }
        throughput = _in_turns(attempt, samplers)
        qualities = {rate: sampler.stop() for rate, sampler in samplers.items()}
    alone = throughput[0.0]
    print(f"sampler: {CELL}, {statistics.median(alone):.0f} requests/s unwatched, {len(alone)} windows at each rate")
    for rate in RATES:
        interval = t_interval([math.log(seen / without) for seen, without in zip(throughput[rate], alone, strict=True)])
        low, high = (math.exp(interval.mean + sign * (interval.half_width or 0.0)) for sign in (-1, 1))
        quality = qualities[rate]
        assert quality is not None, "the sampler ended by itself"
        own = quality.cpu_seconds / (quality.taken / quality.achieved_per_second)
        print(
            f"  {rate:.0f} looks/s: {math.exp(interval.mean):.3f} of the throughput ({low:.3f} to {high:.3f}); "
            f"{own:.1%} of a core, {quality.late} of {quality.taken} looks late"
        )


def _in_turns(attempt: Attempt, samplers: dict[float, DatabaseSampler]) -> dict[float, list[float]]:
    """Requests a second by sampling rate (0: nobody looks): one window each a round, every other in reverse."""
    throughput: dict[float, list[float]] = {rate: [] for rate in (0.0, *samplers)}
    for turn in range(ROUNDS):
        for rate in sorted(throughput, reverse=bool(turn % 2)):
            sampler = samplers.get(rate)
            if sampler is not None:
                sampler.watch(attempt.account.database)
            attempt.window(len(attempt.evidence.windows), 0)
            driven = attempt.evidence.windows[-1].driven
            throughput[rate].append(driven.requests / (driven.stopped - driven.begun))
            if sampler is not None:
                sampler.unwatch(attempt.account.database)
    return throughput
