"""From figures to places in a drawing. A scale is called with a figure and says where it goes."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Linear:
    """`low` … `high` spread evenly over `start` … `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.0
        return round(self.start + share * (self.end - self.start), 1)


@dataclass(frozen=True)
class Log:
    """The same, equal factors taking equal room. Everything must be above 0; what lies outside stays at the edge."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return Linear(math.log(self.low), math.log(self.high), self.start, self.end)(math.log(inside))


def nice_top(value: float) -> int:
    """The end of an axis: the next 1, 2, 4 or 6 times a power of ten, whose half is a whole number."""
    value = max(value, 2)
    power = int(10 ** math.floor(math.log10(value)))
    return next(step * power for step in (1, 2, 4, 6, 10) if step * power >= value)


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten within the bounds; the powers alone where that would be many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [step * 10.0**power for power in powers for step in (1, 2, 5) if low <= step * 10.0**power <= high]
    if len(every) <= 8:
        return every
    return [tick for tick in every if math.isclose(math.log10(tick) % 1, 0, abs_tol=1e-9)]
