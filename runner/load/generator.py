"""The runner's end of a load generator: starts Locust's process, tells it when to drive, reads what it recorded."""

import contextlib
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner import waiting
from runner.errors import StackError
from runner.load.recorder import COUNT_WINDOW
from runner.provision.native import NativeProvider, NativeService, own_module
from runner.provision.service import Address


@dataclass(frozen=True)
class Driven:
    """One stretch of load. Moments are on the monotonic clock; `start` to `end` is the measured part.

    `begun` is when the users were started, `stopped` when the last was answered. `requests` and `errors` are all
    of the stretch's, lead-in included; `locust_requests` is how many Locust's own statistics have of it;
    `cpu_seconds` is the generator's own.
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
    #: In the open model: arrivals that were due, those that left late, those that never left.
    due: int
    late: int
    dropped: int
    #: What the recorder failed at: requests that are missing from the record.
    faults: Sequence[str]
    #: What the traffic profile raised.
    script_errors: Sequence[str]


class LoadGenerator:
    """One Locust process, for one attempt."""

    def __init__(self, provider: NativeProvider, name: str, record: Path, log_path: Path) -> None:
        """Starts the process; it imports Locust while the app server starts."""
        self._provider = provider
        ours, theirs = socket.socketpair()
        with theirs:
            self.service: NativeService = provider.start(
                name,
                own_module("runner.load.driver", str(theirs.fileno())),
                Address("", 0),
                log_path,
                pass_fds=[theirs.fileno()],
            )
        self._channel = ours
        self._lines = ours.makefile("rw", encoding="utf-8")
        self._record = record

    def configure(self, locustfile: Path, host: Address, *, keep_alive: bool, model: str) -> None:
        """Loads the profile; returns when the generator could send its first request."""
        self._ask(
            {
                "locustfile": str(locustfile),
                "host": f"http://{host}",
                "keep_alive": keep_alive,
                "record": str(self._record),
                "model": model,
            },
            waiting.LOAD_START,
        )

    def count(self, *, users: int, seconds: float, workers: int, seed: str, **pace: Any) -> Driven:
        """The contiguous stretch: from `seconds` to twice that, until the rate is steady and all workers answered."""
        stretch = {"seconds": seconds, "most": 2 * seconds, "workers": workers, "seed": seed}
        return self._drive(COUNT_WINDOW, users, lead_in=0.0, **stretch, **pace)

    def window(self, number: int, *, users: int, lead_in: float, seconds: float, seed: str, **pace: Any) -> Driven:
        """One window. `pace` is for the open model: `rate` in requests a second, and `arrivals`."""
        stretch = {"seconds": seconds, "most": 0.0, "workers": 0, "seed": seed}
        return self._drive(number, users, lead_in=lead_in, **stretch, **pace)

    def begin(self, *, users: int, seed: str, **pace: Any) -> None:
        """Load that is part of the count and lasts until `end`, while the caller does other things."""
        stretch = {"lead_in": 0.0, "seconds": 0.0, "most": 0.0, "workers": 0, "until_told": True}
        self._tell({"window": COUNT_WINDOW, "users": users, "seed": seed, **stretch, **pace})

    def end(self) -> Driven:
        """Ends what `begin` began."""
        return Driven(**self._ask({"end": True}, waiting.LOAD_REPLY))

    def _drive(self, window: int, users: int, **stretch: Any) -> Driven:
        limit = stretch["lead_in"] + max(stretch["seconds"], stretch["most"]) + waiting.LOAD_REPLY
        return Driven(**self._ask({"window": window, "users": users, **stretch}, limit))

    def _ask(self, command: dict[str, Any], limit: float) -> dict[str, Any]:
        self._tell(command)
        self._channel.settimeout(limit)
        try:
            line = self._lines.readline()
        except TimeoutError:
            raise StackError(f"the load generator did not answer within {limit:.0f} s{self._tail()}") from None
        except OSError as error:
            raise StackError(f"the load generator is gone ({error}){self._tail()}") from error
        if not line:
            raise StackError(f"the load generator ended by itself{self._tail()}")
        reply: dict[str, Any] = json.loads(line)
        if "failed" in reply:
            raise StackError(f"the load generator refused: {reply['failed']}{self._tail()}")
        return reply

    def _tell(self, command: dict[str, Any]) -> None:
        self._channel.settimeout(waiting.LOAD_REPLY)
        try:
            self._lines.write(json.dumps(command) + "\n")
            self._lines.flush()
        except OSError as error:
            raise StackError(f"the load generator is gone ({error}){self._tail()}") from error

    def _tail(self) -> str:
        return f"; its log ends:\n{self.service.log_tail()}"

    def close(self) -> None:
        """Closes the channel, at which the generator leaves by itself; one that is stuck is ended."""
        with contextlib.suppress(OSError):
            self._lines.close()
        self._channel.close()
        self.service.wait(waiting.LOAD_LEAVE)
        self._provider.stop(self.service)


def locustfile_of(profile: str, root: Path) -> Path:
    """`locustfiles/<profile>.py`."""
    return root / "locustfiles" / f"{profile}.py"
