"""Starting a server of one's own on a port that someone else may take first."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from runner import waiting
from runner.errors import StackError
from runner.provision.service import Address, Command, Provider, Service

C = TypeVar("C")

TRIES = 3
# PostgreSQL's, MySQL's and MariaDB's word in the log for a port that they could not have.
PORT_TAKEN = "Address already in use"


class _PortTaken(StackError):
    """Another process took the port between its choice and the server's start."""


class Starter:
    """Starts one server; each further try has a port and a log of its own.

    A command is made for the address that the server is to bind.
    """

    def __init__(self, provider: Provider, name: str, log_folder: Path) -> None:
        self._provider = provider
        self._name = name
        self._log_folder = log_folder

    def start(
        self,
        command: Callable[[Address], Command],
        connect: Callable[[Service], C],
        not_yet: type[Exception],
    ) -> tuple[Service, C]:
        """The running server and what `connect` returned; until the server is ready that raises `not_yet`.

        StackError with the log's tail if the server ends by itself or is not ready in time.
        """
        for number in range(1, TRIES):
            try:
                return self._try(number, command, connect, not_yet)
            except _PortTaken:
                continue
        return self._try(TRIES, command, connect, not_yet)

    def _try(
        self,
        number: int,
        command: Callable[[Address], Command],
        connect: Callable[[Service], C],
        not_yet: type[Exception],
    ) -> tuple[Service, C]:
        address = self._provider.free_address()
        log_path = self._log_folder / (f"{self._name}.log" if number == 1 else f"{self._name}-{number}.log")
        service = self._provider.start(self._name, command(address.inside), address, log_path, unprivileged=True)
        try:
            return service, wait_until_ready(service, connect, not_yet)
        except BaseException:
            self._provider.stop(service)
            raise


def wait_until_ready(service: Service, connect: Callable[[Service], C], not_yet: type[Exception]) -> C:
    """Connects again and again until it works, the server has ended or `waiting.DATABASE_START` is over."""
    last = ""

    def probe() -> C | None:
        nonlocal last
        if not service.alive():
            tail = service.log_tail()
            reason = f"{service.name} ended while starting; its log ends:\n{tail}"
            raise _PortTaken(reason) if PORT_TAKEN in tail else StackError(reason)
        try:
            return connect(service)
        except not_yet as error:
            last = str(error).strip()
            return None

    found = waiting.wait_for(probe, waiting.DATABASE_START)
    if found is None:
        limit = f"{waiting.DATABASE_START:.0f} s"
        raise StackError(f"{service.name} was not ready after {limit} ({last}); its log ends:\n{service.log_tail()}")
    return found


def prove_identity(said: str, data: Path) -> None:
    """A server that answers on our port is ours only if it says that it lives in our folder."""
    if Path(said).resolve() != data.resolve():
        raise StackError(f"the server that answered lives in {said}, not in {data}: it is not ours")


def hand_over(path: Path, text: str) -> None:
    """Writes a file for the server's user alone, who is the owner of its folder."""
    path.touch(mode=0o600)
    path.write_text(text)
    folder = path.parent.stat()
    os.chown(path, folder.st_uid, folder.st_gid)
