"""Locust in a process of its own, driven by the runner over a socket: `python -m runner.load.driver FD`.

One JSON object a line each way. `configure` first, then any number of `drive`, then the end of the stream, at
which the process leaves: it can never outlive the runner. Where one core is not enough, several of these are driven
together; they know nothing of each other but their share of the users and of the arrivals. Locust is used as a
library (its own runner API), so that a stretch of load starts within milliseconds; starting Locust anew would cost
more than a window.
"""

# Locust patches the standard library for gevent on import: it has to come first.
import locust  # isort: skip
import contextlib
import gc
import json
import logging
import os
import random
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, process_time
from typing import Any, TextIO

import gevent
from locust import User
from locust.contrib.fasthttp import FastHttpUser
from locust.env import Environment
from locust.util.load_locustfile import load_locustfile

from runner.load.arrivals import LATE, Followers, OpenSchedule, Pattern, Tally
from runner.load.leaving import leave_between_requests
from runner.load.recorder import Recorder
from runner.load.user import Batches, BenchmarkUser

# Half a second is long enough to hold some hundred requests and short enough to see the rate climb.
BIN_SECONDS = 0.5
# For its debug log Locust looks up who stops it, through every module's source: 10 to 20 ms in which no answer to a
# request under way is taken in. It goes on where that fails.
locust.runners.inspect = None  # type: ignore[attr-defined, assignment]


class RunnerGone(Exception):
    """The channel was closed in the middle of a stretch."""


@dataclass(frozen=True)
class Stretch:
    """A `drive` command: `users` for `seconds` after `lead_in`, begun at `at`.

    `at` is on the monotonic clock, one moment for all drivers; 0 is now. With `settle` the runner decides when it ends,
    told again and again how it goes; with `until_told` it lasts until the runner's next line. In the open model `rate`
    requests a second are due from all drivers together, and `users` is how many of this one's can be under way at once;
    `share` is which of how many drivers this is, from 0.
    """

    window: int
    users: int
    at: float
    lead_in: float
    seconds: float
    settle: bool
    seed: str
    share: tuple[int, int]
    rate: float | None = None
    arrivals: Pattern = "uniform"
    until_told: bool = False


class Driver:
    def __init__(
        self,
        channel: TextIO,
        *,
        locustfile: str,
        host: str,
        keep_alive: bool,
        record: str,
        model: str,
        stop_timeout: float,
    ) -> None:
        """`stop_timeout`: seconds that requests in flight at the end of a stretch may take before they are cut off."""
        self._channel = channel
        logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
        self.recorder = Recorder(Path(record))
        user_classes, shapes = load_locustfile(locustfile)
        if shapes:
            raise ValueError(f"{locustfile} has a load shape, which only plain Locust can follow")
        for user_class in user_classes.values():
            _set_keep_alive(user_class, keep_alive)
            leave_between_requests(user_class)
        self.followers = Followers(user_classes.values()) if model == "open" else None
        self.environment = Environment(user_classes=list(user_classes.values()), host=host, stop_timeout=stop_timeout)
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

    def drive(self, stretch: Stretch) -> dict[str, Any]:
        """Drives one stretch; returns what happened, times on the monotonic clock."""
        recorder = self.recorder
        before = recorder.recorded, recorder.failed
        recorder.window = stretch.window
        recorder.answered_at.clear()
        recorder.workers.clear()
        recorder.faults.clear()
        self.script_errors.clear()
        random.seed(f"{stretch.seed}:{stretch.share[0]}")
        _sleep_until(stretch.at)
        cpu = process_time()
        begun = monotonic()
        schedule = self._schedule(stretch, begun)
        self.runner.start(stretch.users, spawn_rate=stretch.users)
        _sleep_until(begun + stretch.lead_in)
        start = monotonic()
        if stretch.until_told:
            self._next_line()
        else:
            gevent.sleep(stretch.seconds)
        if stretch.settle:
            self._settle(start)
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
            "requests": recorder.recorded - before[0],
            "errors": recorder.failed - before[1],
            "locust_requests": self.environment.stats.total.num_requests,
            "cpu_seconds": cpu,
            **asdict(tally),
            "faults": recorder.faults[:3],
            "script_errors": self.script_errors[:3],
        }

    def _schedule(self, stretch: Stretch, begun: float) -> OpenSchedule | None:
        if self.followers is None:
            return None
        schedule = None
        if stretch.rate is not None:
            schedule = OpenSchedule(stretch.rate, stretch.arrivals, stretch.seed, stretch.at or begun, stretch.share)
        self.followers.schedule = schedule
        return schedule

    def _settle(self, start: float) -> None:
        """Tells how it goes until the runner has heard enough."""
        while True:
            before, last = self._bins()
            seen = {"before": before, "last": last, "workers": sorted(self.recorder.workers)}
            say(self._channel, {"elapsed": monotonic() - start, **seen})
            if not self._next_line()["go_on"]:
                return
            gevent.sleep(BIN_SECONDS / 2)

    def _next_line(self) -> dict[str, Any]:
        line = self._channel.readline()
        if not line:
            raise RunnerGone
        message: dict[str, Any] = json.loads(line)
        return message

    def _bins(self) -> tuple[int, int]:
        """Requests that were answered in the last bin but one, and in the last."""
        now = monotonic()
        ages = [now - moment for moment in self.recorder.answered_at[-20_000:]]
        last = sum(age < BIN_SECONDS for age in ages)
        return sum(BIN_SECONDS <= age < 2 * BIN_SECONDS for age in ages), last

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


def _sleep_until(moment: float) -> None:
    gevent.sleep(max(0.0, moment - monotonic()))


def say(channel: TextIO, message: dict[str, Any]) -> None:
    channel.write(json.dumps(message) + "\n")
    channel.flush()


def serve(channel: TextIO) -> None:
    """Answers commands until the runner closes its end."""
    driver: Driver | None = None
    for line in channel:
        command = json.loads(line)
        try:
            if driver is None:
                driver = Driver(channel, **command)
                reply: dict[str, Any] = {"ready": locust.__version__, "pid": os.getpid()}
            else:
                reply = driver.drive(Stretch(**command))
        except RunnerGone:
            return
        except Exception as error:  # noqa: BLE001  whatever a profile raises, the runner is to hear of it
            reply = {"failed": f"{type(error).__name__}: {error}"}
        say(channel, reply)


if __name__ == "__main__":
    # The runner may close its end at any moment: there is nobody left to be told of it.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        serve(socket.socket(fileno=int(sys.argv[1])).makefile("rw", encoding="utf-8"))
