"""How far another host's monotonic clock is from ours, and how well that is known."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

#: Exchanges a measurement: the quickest counts, in which nothing was held up.
EXCHANGES = 20


@dataclass(frozen=True)
class ClockReading:
    """Seconds. `offset` is what the other clock is ahead of ours; it is wrong by `error` at most.

    The other end read its clock at some moment between our question and its answer: at the middle of the two, give or
    take half of the round trip (Cristian, "Probabilistic clock synchronization", 1989). That holds whatever the network
    does.
    """

    offset: float
    error: float
    round_trip: float

    def to_other(self, moment: float) -> float:
        """A moment of our clock on the other's."""
        return moment + self.offset

    def to_ours(self, moment: float) -> float:
        """A moment of the other's clock on ours."""
        return moment - self.offset

    def confirmed_by(self, later: "ClockReading") -> "ClockReading":
        """The same, with the error that it turned out to have when it was measured again: clocks drift apart."""
        error = max(self.error, abs(later.offset - self.offset) + later.error)
        return ClockReading(self.offset, error, max(self.round_trip, later.round_trip))


def read_clock(ask: Callable[[], float], exchanges: int = EXCHANGES) -> ClockReading:
    """`ask` has the other end read its clock, and returns the reading."""

    def exchange() -> ClockReading:
        sent = monotonic()
        theirs = ask()
        received = monotonic()
        trip = received - sent
        return ClockReading(theirs - (sent + received) / 2, trip / 2, trip)

    return min((exchange() for _ in range(exchanges)), key=lambda one: one.round_trip)
