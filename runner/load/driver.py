"""Locust in a process of its own, driven by the runner over a socket: `python -m runner.load.driver FD`.

One JSON object a line each way. `configure` first, then any number of `drive`, then the end of the stream, at
which the process leaves: it can never outlive the runner. Locust is used as a library (its own runner API), so
that a stretch of load starts within milliseconds; starting Locust anew would cost more than a window.
"""

# Locust patches the standard library for gevent on import: it has to come first.
import locust  # isort: skip
import gc
import json
import logging
import random
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, process_time
from typing import Any

import gevent
from locust import User
from locust.contrib.fasthttp import FastHttpUser
from locust.env import Environment
from locust.util.load_locustfile import load_locustfile

from runner.load.arrivals import LATE, Followers, OpenSchedule, Pattern, Tally
from runner.load.recorder import Recorder
from runner.load.user import Batches, BenchmarkUser

# How long requests in flight at the end of a stretch may take before they are cut off; longer than any answer.
STOP_TIMEOUT = 20.0
# Half a second is long enough to hold some hundred requests and short enough to see the rate climb.
BIN_SECONDS = 0.5
# The rate has settled when the last bin is at most this much above the one before: shared hosts vary by some 13 %.
CLIMB = 1.15


@dataclass(frozen=True)
class Stretch:
    """A `drive` command: `users` for `seconds` after `lead_in`, up to `most` seconds until the rate is steady.

    With `until_told` it lasts until the next line comes, whatever that says.

    In the open model `rate` requests a second are due, and `users` is how many can be under way at once.
    """

    window: int
    users: int
    lead_in: float
    seconds: float
    most: float
    workers: int
    seed: str
    rate: float | None = None
    arrivals: Pattern = "uniform"
    until_told: bool = False


class Driver:
    def __init__(self, locustfile: str, host: str, keep_alive: bool, record: str, model: str) -> None:
        logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
        self.recorder = Recorder(Path(record))
        user_classes, shapes = load_locustfile(locustfile)
        if shapes:
            raise ValueError(f"{locustfile} has a load shape, which only plain Locust can follow")
        for user_class in user_classes.values():
            _set_keep_alive(user_class, keep_alive)
        self.followers = Followers(user_classes.values()) if model == "open" else None
        self.environment = Environment(user_classes=list(user_classes.values()), host=host, stop_timeout=STOP_TIMEOUT)
        events = self.environment.events
        events.request.add_listener(self.recorder.on_request)  # type: ignore[no-untyped-call]
        events.user_error.add_listener(self._on_user_error)  # type: ignore[no-untyped-call]
        self.batches = Batches.of(self.environment)
        self.batches.recorder = self.recorder
        self.runner = self.environment.create_local_runner()
        self.script_errors: list[str] = []
        # What is loaded now stays; a collection after each stretch then takes a millisecond and closes sockets.
        gc.collect()
        gc.freeze()

    def drive(self, stretch: Stretch, told: Callable[[], object]) -> dict[str, Any]:
        """Drives one stretch; returns what happened, times on the monotonic clock. `told` waits for the next line."""
        recorder = self.recorder
        before = recorder.recorded, recorder.failed
        recorder.window = stretch.window
        recorder.answered_at.clear()
        recorder.workers.clear()
        recorder.faults.clear()
        self.script_errors.clear()
        random.seed(stretch.seed)
        cpu = process_time()
        begun = monotonic()
        schedule = self._schedule(stretch)
        self.runner.start(stretch.users, spawn_rate=stretch.users)
        gevent.sleep(stretch.lead_in)
        start = monotonic()
        if stretch.until_told:
            told()
        else:
            gevent.sleep(stretch.seconds)
        steady = self._settle(stretch, start)
        end = monotonic()
        tally = Tally(due=0, late=0, dropped=0)
        if schedule is not None:
            tally = schedule.end()
            # A user that has just been told to go is still waiting in Locust's eyes, and would be killed.
            gevent.sleep(LATE)
        self.runner.stop()
        stopped = monotonic()
        self.batches.tell()
        cpu = process_time() - cpu
        gc.collect()
        recorder.flush()
        return {
            "begun": begun,
            "start": start,
            "end": end,
            "stopped": stopped,
            "steady": steady,
            "requests": recorder.recorded - before[0],
            "errors": recorder.failed - before[1],
            "locust_requests": self.environment.stats.total.num_requests,
            "cpu_seconds": cpu,
            **asdict(tally),
            "faults": recorder.faults[:3],
            "script_errors": self.script_errors[:3],
        }

    def _schedule(self, stretch: Stretch) -> OpenSchedule | None:
        if self.followers is None or stretch.rate is None:
            return None
        self.followers.schedule = OpenSchedule(stretch.rate, stretch.arrivals, stretch.seed)
        return self.followers.schedule

    def _settle(self, stretch: Stretch, start: float) -> bool:
        """Goes on until every worker has answered and the rate no longer climbs, or the time is up."""
        if stretch.most <= stretch.seconds:
            return True
        while not (len(self.recorder.workers) >= stretch.workers and self._level()):
            if monotonic() - start >= stretch.most:
                return False
            gevent.sleep(BIN_SECONDS / 2)
        return True

    def _level(self) -> bool:
        now = monotonic()
        ages = [now - moment for moment in self.recorder.answered_at[-20_000:]]
        last = sum(age < BIN_SECONDS for age in ages)
        before = sum(BIN_SECONDS <= age < 2 * BIN_SECONDS for age in ages)
        return last <= before * CLIMB

    def _on_user_error(self, exception: BaseException, **_: Any) -> None:
        """A profile's own code raised: Locust logs it and goes on."""
        self.script_errors.append(repr(exception))


def _set_keep_alive(user_class: type[User], keep_alive: bool) -> None:
    if keep_alive:
        return
    if issubclass(user_class, BenchmarkUser):
        user_class.keep_alive = False
        return
    if not issubclass(user_class, FastHttpUser):
        raise ValueError(f"keep_alive: false needs a BenchmarkUser or FastHttpUser; {user_class.__name__} is none")
    user_class.default_headers = {**(user_class.default_headers or {}), "Connection": "close"}


def serve(channel: socket.socket) -> None:
    """Answers commands until the runner closes its end."""
    lines = channel.makefile("rw", encoding="utf-8")
    driver: Driver | None = None
    for line in lines:
        command = json.loads(line)
        try:
            if driver is None:
                driver = Driver(**command)
                reply: dict[str, Any] = {"ready": locust.__version__}
            else:
                reply = driver.drive(Stretch(**command), lines.readline)
        except Exception as error:  # noqa: BLE001  whatever a profile raises, the runner is to hear of it
            reply = {"failed": f"{type(error).__name__}: {error}"}
        lines.write(json.dumps(reply) + "\n")
        lines.flush()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
