"""The runner's end of a load generator: one Locust process or several, on one host or several, driven together."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from runner import waiting
from runner.errors import StackError
from runner.load.far import together
from runner.load.hosts import LoadHosts
from runner.load.process import DriverProcess
from runner.load.recorder import COUNT_WINDOW
from runner.provision.service import Address, OwnService, Provider, Usage, Watched
from runner.results.schema import LoadHostRecord
from runner.stacks.app import is_path

# The rate has settled when the last bin is at most this much above the one before: shared hosts vary by some 13 %.
CLIMB = 1.15
# Several drivers start at one moment: far enough ahead that each has heard of it, wherever it is.
START_TOGETHER = 0.03
ROUND_TRIPS_AHEAD = 2


@dataclass(frozen=True)
class Driven:
    """One stretch of load. Moments are on the monotonic clock; `start` to `end` is the measured part.

    `begun` is when the users were started, `stopped` when the last was answered. `requests` and `errors` are all
    of the stretch's, lead-in included; `locust_requests` is how many Locust's own statistics have of it;
    `cpu_seconds` is the generator's own, all its processes together, and `busiest` the share of a core that the
    busiest of them used.
    """

    begun: float
    start: float
    end: float
    stopped: float
    steady: bool
    requests: int
    errors: int
    locust_requests: int
    cpu_seconds: float
    busiest: float
    #: In the open model: arrivals that were due, those that left late, those that never left.
    due: int
    late: int
    dropped: int
    #: What the recorder failed at: requests that are missing from the record.
    faults: Sequence[str]
    #: What the traffic profile raised.
    script_errors: Sequence[str]


class AnyDriver(Protocol):
    """One driver, beside the runner or on another host. Moments are on the runner's clock. StackError if it is gone."""

    record: Path

    @property
    def round_trip(self) -> float: ...

    @property
    def told(self) -> LoadHostRecord | None:
        """Of a driver on another host: what became of it there."""
        ...

    def configure(self, locustfile: Path, profile: dict[str, Any]) -> None: ...

    def ready(self, limit: float) -> None: ...

    def tell(self, message: dict[str, Any]) -> None: ...

    def hear(self, limit: float) -> dict[str, Any]: ...

    def hang_up(self) -> None: ...

    def end(self) -> None: ...


class LoadGenerator:
    """The Locust processes of one attempt: `workers` of them, each with its own record."""

    def __init__(
        self,
        provider: Provider,
        name: str,
        record: Path,
        log_path: Path,
        *,
        workers: int = 1,
        hosts: LoadHosts | None = None,
    ) -> None:
        """Starts the processes: beside the runner, or dealt out to `hosts`.

        The first writes `record` and `log_path`, the others beside: `requests-2.raw` … Logs stay on their hosts.
        """
        self._closed = False
        self._drivers: list[AnyDriver] = []
        self.services: list[OwnService] = []
        try:
            for number in range(workers):
                title = "load generator" if workers == 1 else f"load generator {number + 1} of {workers}"
                files = [
                    path if number == 0 else path.with_stem(f"{path.stem}-{number + 1}") for path in (record, log_path)
                ]
                if hosts is None:
                    own = DriverProcess(provider, f"{title} ({name})", *files)
                    self.services.append(own.service)
                    self._drivers.append(own)
                else:
                    self._drivers.append(hosts.driver(number, f"{title} ({name})", files[0]))
        except StackError:
            self.close()
            raise

    @property
    def records(self) -> list[Path]:
        """What `read_records` reads."""
        return [driver.record for driver in self._drivers]

    @property
    def load_hosts(self) -> Sequence[LoadHostRecord]:
        """What became of it on other hosts, of each once."""
        return together([told for driver in self._drivers if (told := driver.told) is not None])

    @property
    def watched(self) -> dict[str, Watched]:
        """What of it uses this machine."""
        return {"load": self} if self.services else {}

    def cpu_seconds(self) -> float:
        return sum(service.cpu_seconds() for service in self.services)

    def usage(self) -> Usage:
        used = [service.usage() for service in self.services]
        return Usage(sum(one.cpu_seconds for one in used), sum(one.memory_bytes for one in used))

    def configure(self, locustfile: Path, host: Address, *, keep_alive: bool, model: str) -> None:
        """Loads the profile; returns when every process could send its first request."""
        profile = {"host": f"http://{host}", "keep_alive": keep_alive, "model": model}
        for driver in self._drivers:
            driver.configure(locustfile, {**profile, "stop_timeout": waiting.LOAD_STOP})
        for driver in self._drivers:
            driver.ready(waiting.LOAD_START)

    def count(self, *, users: int, seconds: float, workers: int, seed: str, **pace: Any) -> Driven:
        """The contiguous stretch: from `seconds` to twice that, until the rate is steady and all workers answered."""
        stretch = {"lead_in": 0.0, "seconds": seconds, "seed": seed, **pace}
        return self._drive(COUNT_WINDOW, users, stretch, most=2 * seconds, workers=workers)

    def window(self, number: int, *, users: int, lead_in: float, seconds: float, seed: str, **pace: Any) -> Driven:
        """One window. `pace` is for the open model: `rate` in requests a second, and `arrivals`."""
        return self._drive(number, users, {"lead_in": lead_in, "seconds": seconds, "seed": seed, **pace})

    def begin(self, *, users: int, seed: str, **pace: Any) -> None:
        """Load that is part of the count and lasts until `end`, while the caller does other things."""
        stretch = {"lead_in": 0.0, "seconds": 0.0, "until_told": True, "settle": False, "seed": seed, **pace}
        with self._whole():
            self._start(users, {**stretch, "window": COUNT_WINDOW})

    def end(self) -> Driven:
        """Ends what `begin` began."""
        with self._whole():
            for driver in self._drivers:
                driver.tell({"end": True})
            return _together([driver.hear(waiting.LOAD_REPLY) for driver in self._drivers], steady=True)

    def close(self) -> None:
        """Closes the channels, at which the processes leave by themselves; one that is stuck is ended."""
        if self._closed:
            return
        self._closed = True
        for driver in self._drivers:
            driver.hang_up()
        for driver in self._drivers:
            driver.end()

    def _drive(
        self, window: int, users: int, stretch: dict[str, Any], *, most: float = 0.0, workers: int = 0
    ) -> Driven:
        settle = most > stretch["seconds"]
        limit = stretch["lead_in"] + stretch["seconds"] + waiting.LOAD_REPLY
        with self._whole():
            self._start(users, {**stretch, "window": window, "settle": settle})
            steady = not settle or self._settle(most, workers, limit)
            return _together([driver.hear(limit) for driver in self._drivers], steady=steady)

    def _start(self, users: int, stretch: dict[str, Any]) -> None:
        """Users and arrivals are dealt out evenly."""
        among = len(self._drivers)
        ahead = START_TOGETHER + ROUND_TRIPS_AHEAD * max(driver.round_trip for driver in self._drivers)
        at = monotonic() + ahead if among > 1 else 0.0
        for index, driver in enumerate(self._drivers):
            own_users = users // among + (index < users % among)
            driver.tell({**stretch, "at": at, "users": own_users, "share": (index, among)})

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """What is left of a generator that fails is ended at once: it would go on asking."""
        try:
            yield
        except StackError:
            self.close()
            raise

    def _settle(self, most: float, workers: int, limit: float) -> bool:
        """Has them go on until every worker has answered and the rate no longer climbs, or the time is up."""
        while True:
            reports = [driver.hear(limit) for driver in self._drivers]
            before, last = (sum(report[name] for report in reports) for name in ("before", "last"))
            answered = {worker for report in reports for worker in report["workers"]}
            steady = len(answered) >= workers and last <= before * CLIMB
            go_on = not steady and min(report["elapsed"] for report in reports) < most
            for driver in self._drivers:
                driver.tell({"go_on": go_on})
            if not go_on:
                return steady


def _together(parts: Sequence[dict[str, Any]], *, steady: bool) -> Driven:
    """What several drivers did at the same time, as one: measured is while all of them drove."""

    def total(name: str) -> Any:
        return sum(part[name] for part in parts)

    start, end = max(part["start"] for part in parts), min(part["end"] for part in parts)
    if end <= start:
        raise StackError("the processes of the load generator never drove at the same time: the machine is too busy")
    return Driven(
        begun=min(part["begun"] for part in parts),
        start=start,
        end=end,
        stopped=max(part["stopped"] for part in parts),
        steady=steady,
        requests=total("requests"),
        errors=total("errors"),
        locust_requests=total("locust_requests"),
        cpu_seconds=total("cpu_seconds"),
        busiest=max(part["cpu_seconds"] / (part["stopped"] - part["begun"]) for part in parts),
        due=total("due"),
        late=total("late"),
        dropped=total("dropped"),
        faults=[fault for part in parts for fault in part["faults"]],
        script_errors=[error for part in parts for error in part["script_errors"]],
    )


def locustfile_of(profile: str, root: Path) -> Path:
    """`locustfiles/<profile>.py`, or the Locust file at a path."""
    return Path(profile) if is_path(profile) else root / "locustfiles" / f"{profile}.py"
