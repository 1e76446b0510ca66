"""The highest rate that is held: geometric growth until one is missed, then bisection on the logarithm.

Knows no load and no clock: it names a rate, is told what came of it, and names the next.
"""

import math
from typing import Literal

Outcome = Literal["held", "missed", "limited"]

#: From one rate to the next as long as only one side of the bracket is known.
GROWTH = 1.5
#: Requests a second below which no capacity is looked for, and above which none.
LEAST, MOST = 1.0, 100_000.0
#: A rate that is missed is tried once more before it counts: on a shared machine a second may be lost to somebody else.
TRIES = 2


class RateSearch:
    """`held` and `failed` close in on the capacity until they are within `precision` (0.05 is 5 %) of each other.

    `failed` stays None where the most that could be tried was held: the capacity is then at least `held`. Where not
    even `LEAST` is held, `held` stays None.
    """

    def __init__(self, start: float, precision: float) -> None:
        self._precision = precision
        self._misses = 0
        #: The lowest rate that the generator itself could not make: nothing is learnt there, nor above.
        self._wall = math.inf
        self.held: float | None = None
        self.failed: float | None = None
        #: The rate to try; None when the search is over.
        self.rate: float | None = min(max(start, LEAST), MOST)

    def tried(self, outcome: Outcome) -> None:
        """What came of trying `rate`: held, missed, or `limited` by the generator, which says nothing of the server."""
        rate = self.rate
        assert rate is not None, "the search is over"
        if outcome == "missed":
            self._misses += 1
            if self._misses < TRIES:
                return
            self.failed = rate
        elif outcome == "held":
            self.held = rate
        else:
            self._wall = rate
        self._misses = 0
        self.rate = self._next(rate)

    def _next(self, rate: float) -> float | None:
        if self.held is None:
            return None if rate <= LEAST else max(rate / GROWTH, LEAST)
        if self.failed is not None:
            close = self.failed <= self.held * (1 + self._precision)
            middle = math.sqrt(self.held * self.failed)
            return None if close or middle >= self._wall else middle
        higher = min(self.held * GROWTH, MOST)
        return None if higher <= self.held or higher >= self._wall else higher
