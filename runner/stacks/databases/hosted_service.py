"""What stands for the process of a server that is somewhere else: nothing of it is seen, and nothing is done to it."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from runner.errors import StackError
from runner.provision.service import Address, Usage


class HostedService:
    """See `runner.provision.service.Service`. To stop it is to take leave of it."""

    exit_code: int | None = None

    def __init__(self, name: str, address: Address, log_path: Path, leave: Callable[[], None]) -> None:
        self.name = name
        self.address = address
        self.log_path = log_path
        self._leave = leave
        self._left = False

    def bring_log(self) -> None:
        """It keeps its log to itself."""

    def log_tail(self, lines: int = 20) -> str:  # noqa: ARG002
        return "(a server that this run did not start keeps its log to itself)"

    def alive(self) -> bool:
        return not self._left

    def ending(self) -> str:
        return "was left" if self._left else "is still there"

    def starved(self) -> bool:
        """Nobody tells."""
        return False

    def wait(self, limit: float) -> bool:  # noqa: ARG002
        return self._left

    def signal(self, number: signal.Signals) -> None:
        raise StackError(f"{self.name} gets no {number.name} from here: this run did not start it")

    def suspend(self) -> None:
        raise StackError(f"{self.name} is not paused from here: this run did not start it")

    def resume(self) -> None:
        """It was never paused."""

    def stop(self) -> None:
        self._left = True
        self._leave()

    def cpu_seconds(self) -> float:
        return 0.0

    def usage(self) -> Usage:
        return Usage(0.0, 0)


def hang_up(descriptor: int) -> None:
    """Ends a connection under whoever waits on it; it stays open as a file until its owner closes it."""
    with socket.socket(fileno=os.dup(descriptor)) as other:
        other.shutdown(socket.SHUT_RDWR)
