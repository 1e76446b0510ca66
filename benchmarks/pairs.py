"""Windows with and without something, in turns: what it costs, as a ratio with its interval."""

import math
from collections.abc import Sequence

from runner.analysis.inference import t_interval
from runner.evidence import Stretch


def ratio(with_it: Sequence[float], without: Sequence[float]) -> dict[str, float | None]:
    """The geometric mean of the pairs' ratios, its 95 % t interval over pairs, and how many pairs there were."""
    interval = t_interval([math.log(one / other) for one, other in zip(with_it, without, strict=True)])
    low, high = (
        None if interval.half_width is None else math.exp(interval.mean + sign * interval.half_width)
        for sign in (-1, 1)
    )
    return {"ratio": math.exp(interval.mean), "low": low, "high": high, "pairs": len(with_it)}


def throughput(window: Stretch) -> float:
    """Requests a second, lead-in and last answers included."""
    return window.driven.requests / (window.driven.stopped - window.driven.begun)


def cpu_seconds(window: Stretch) -> float:
    """The app's CPU time a request."""
    return window.cpu_seconds["app"] / window.driven.requests
