"""The open model: requests are due on an absolute schedule, whatever the server does.

Locust's users take the arrivals in turn: a user that is free takes the next one and waits for its moment; if that
has passed already, because all users were busy, it leaves at once and is late. Response time counts from the
moment when the request was due, so a stall of the server shows in every request that it delayed (Tene, "How NOT to
Measure Latency", 2013; wrk2's correction of coordinated omission). Locust's own `constant_throughput` forgets its
debt when it falls behind, and so measures a closed loop.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice, takewhile
from time import monotonic
from typing import Any, Literal

from gevent import GreenletExit
from gevent.event import Event
from locust import User

Pattern = Literal["uniform", "poisson"]
# A request that leaves this many seconds after it was due is late: well above what a timer of the loop misses.
LATE = 0.010


def arrivals(rate: float, pattern: Pattern, seed: str) -> Iterator[float]:
    """Seconds from the start at which requests are due: evenly spaced, or a Poisson process of the same rate."""
    if pattern == "uniform":
        yield from (number / rate for number in count())
    dice = random.Random(seed)
    moment = 0.0
    while True:
        moment += dice.expovariate(rate)
        yield moment


@dataclass(frozen=True)
class Tally:
    """Arrivals of one stretch: `due` in all, those that left `late`, and those `dropped`, which never left."""

    due: int
    late: int
    dropped: int


class OpenSchedule:
    """Hands the arrivals of one stretch, begun at `begun` (monotonic), to users; made anew for each.

    Of several drivers each takes every so-manieth arrival of one schedule: together they are that schedule.
    """

    def __init__(self, rate: float, pattern: Pattern, seed: str, begun: float, share: tuple[int, int] = (0, 1)) -> None:
        self._arguments = (rate, pattern, seed)
        self._share = share
        self._arrivals = self._all()
        self._begun = begun
        self._over = Event()
        self._left = 0
        self._late = 0

    def _all(self) -> Iterator[float]:
        number, drivers = self._share
        return islice(arrivals(*self._arguments), number, None, drivers)

    def take(self) -> float:
        """Waits for the next arrival; the moment when it was due. Ends the user's greenlet once the stretch is over."""
        due = self._begun + next(self._arrivals)
        wait = due - monotonic()
        if wait > 0:
            self._over.wait(wait)
        if self._over.is_set():
            # Not StopUser: Locust logs that as an error where a user has only started.
            raise GreenletExit
        self._left += 1
        self._late += monotonic() - due > LATE
        return due

    def end(self) -> Tally:
        """Nothing leaves any more; what became of the arrivals up to now.

        One that was due just now, and could not have left yet, is neither due nor dropped.
        """
        fair = monotonic() - self._begun - LATE
        self._over.set()
        due = sum(1 for _ in takewhile(lambda moment: moment < fair, self._all()))
        dropped = max(0, due - self._left)
        return Tally(due=self._left + dropped, late=self._late, dropped=dropped)


class Followers:
    """Users that take arrivals instead of deciding by themselves when to go on."""

    def __init__(self, user_classes: Iterable[type[User]]) -> None:
        #: Set before users are started; None has them decide for themselves.
        self.schedule: OpenSchedule | None = None
        for user_class in user_classes:
            self._adopt(user_class)

    def _adopt(self, user_class: Any) -> None:
        """Before its first task and after each, a user waits for its next arrival, and knows when that was due."""
        on_start, own_context, own_wait = user_class.on_start, user_class.context, user_class.wait_time

        def started(user: Any) -> None:
            on_start(user)
            if self.schedule is not None:
                user.due = self.schedule.take()

        def wait(user: Any) -> float:
            if self.schedule is None:
                return float(own_wait(user))
            user.due = self.schedule.take()
            return 0.0

        def context(user: Any) -> dict[str, Any]:
            # How a request of Locust's own clients carries it to the recorder: the first one after an arrival does.
            due, user.due = getattr(user, "due", None), None
            return {**own_context(user), "due": due}

        user_class.on_start = started
        user_class.wait_time = wait
        user_class.context = context
