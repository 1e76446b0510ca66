"""The runner's end of one driver: Locust's process and the channel to it."""

import contextlib
import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner import waiting
from runner.errors import StackError
from runner.provision.commands import own_module
from runner.provision.service import OwnService, Provider


class DriverProcess:
    """A process group of its own, which a channel that nobody else has ties to the runner."""

    #: Seconds that a line to it and its answer take: nothing worth waiting for.
    round_trip = 0.0
    #: It is no other host's.
    told = None

    def __init__(self, provider: Provider, name: str, record: Path, log_path: Path) -> None:
        """Starts the process; it imports Locust while the app server starts."""
        self._provider = provider
        self.record = record
        ours, theirs = socket.socketpair()
        with theirs:
            command = replace(own_module("runner.load.driver", str(theirs.fileno())), role="load")
            self.service: OwnService = provider.start_own(name, command, log_path, [theirs.fileno()])
        self._channel = ours
        self._lines = ours.makefile("rw", encoding="utf-8")

    def fileno(self) -> int:
        """For `select`: readable when there is something to hear."""
        return self._channel.fileno()

    def configure(self, locustfile: Path, profile: dict[str, Any]) -> None:
        """Has it load the traffic profile; `ready` waits until it has."""
        self.tell({**profile, "locustfile": str(locustfile), "record": str(self.record)})

    def ready(self, limit: float) -> None:
        """Returns when it could send its first request. StackError if the one that answers is not our process."""
        reply = self.hear(limit)
        if reply["pid"] != self.service.pid:
            raise StackError(f"the {self.service.name} is process {self.service.pid}, and {reply['pid']} answered")

    def tell(self, message: dict[str, Any]) -> None:
        """One line to the driver. StackError if it is gone."""
        try:
            self._lines.write(json.dumps(message) + "\n")
            self._lines.flush()
        except OSError:
            raise self._gone() from None

    def hear(self, limit: float) -> dict[str, Any]:
        """Its next line, at most `limit` seconds from now. StackError if it fails, is silent or is gone."""
        self._channel.settimeout(limit)
        try:
            line = self._lines.readline()
        except TimeoutError:
            raise StackError(f"the {self.service.name} did not answer within {limit:.0f} s{self._tail()}") from None
        except OSError:
            raise self._gone() from None
        if not line:
            raise self._gone()
        reply: dict[str, Any] = json.loads(line)
        if "failed" in reply:
            raise StackError(f"the {self.service.name} refused: {reply['failed']}{self._tail()}")
        return reply

    def hang_up(self) -> None:
        """Closes the channel, at which the driver leaves by itself."""
        with contextlib.suppress(OSError):
            self._lines.close()
        self._channel.close()

    def end(self) -> None:
        """Waits for it to leave; one that is stuck is ended. After `hang_up`."""
        self.service.wait(waiting.LOAD_LEAVE)
        self._provider.stop(self.service)

    def _gone(self) -> StackError:
        # A killed process closes its files a moment before it can be waited for.
        self.service.wait(waiting.LOAD_LEAVE)
        return StackError(f"the {self.service.name} {self.service.ending()}{self._tail()}")

    def _tail(self) -> str:
        return f"; its log ends:\n{self.service.log_tail()}"
