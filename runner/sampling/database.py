"""The runner's end of the database sampler: starts its process, says what to watch, reads what it wrote."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from runner import waiting
from runner.errors import StackError
from runner.provision.commands import own_module
from runner.provision.service import OwnService, Provider
from runner.results.schema import SamplerQuality
from runner.stacks.databases.base import Database

COLUMNS = ("active", "idle", "idle_in_transaction", "waiting", "total")


class DatabaseSampler:
    """One process that watches all accounts of one server, `per_second` times a second."""

    def __init__(self, database: Database, provider: Provider, per_second: float, path: Path) -> None:
        """Starts the process; returns when it has connected. Rows are appended to `path`."""
        self._provider = provider
        self._per_second = per_second
        self._path = path
        path.touch()
        # Where in the file an account's rows begin: nothing of it is written before.
        self._begins: dict[str, int] = {}
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair()
        with theirs:
            name = f"sampler of {database.service.name}"
            command = own_module("runner.sampling.poller", str(theirs.fileno()))
            self._service: OwnService = provider.start_own(name, command, path.with_suffix(".log"), [theirs.fileno()])
        ours.settimeout(waiting.SAMPLER_REPLY)
        self._channel = ours
        self._lines = ours.makefile("rw", encoding="utf-8")
        self._stopped: SamplerQuality | None = None
        # The secrets go through the socket: anyone can read a process's arguments.
        order = {
            "engine": database.spec.engine,
            "arguments": dict(database.monitor_arguments()),
            "per_second": per_second,
            "path": str(path),
        }
        try:
            reply = self._ask(order)
            if "failed" in reply:
                raise StackError(f"the database sampler cannot look at {database.product}: {reply['failed']}")
        except BaseException:
            self._end()
            raise

    @property
    def alive(self) -> bool:
        return self._service.alive()

    def watch(self, account: str) -> None:
        """From now on each look writes a row for the account (its database's name)."""
        with self._lock:
            self._begins[account] = self._path.stat().st_size
            self._send({"watch": account})

    def unwatch(self, account: str) -> None:
        with self._lock:
            self._send({"unwatch": account})

    def quality(self) -> SamplerQuality:
        """How the sampler did up to now, all accounts together; StackError if it is gone."""
        with self._lock:
            return self._stopped or self._quality(self._ask({"report": True}))

    def stop(self) -> SamplerQuality | None:
        """Ends the process; its totals, or None where it had ended by itself. Safe to call twice."""
        with self._lock:
            if self._channel.fileno() != -1:
                try:
                    self._stopped = self._quality(self._ask({"stop": True}))
                except StackError:
                    self._stopped = None
                self._end()
            return self._stopped

    def read(self, account: str, zero: float, *, until: float = float("inf")) -> pd.DataFrame:
        """The account's rows since it was watched, up to `until` seconds after `zero`, a monotonic moment.

        Columns: `offset` in seconds since `zero`, then the numbers of sessions in each state. A look that
        failed has no row, see `gaps`.
        """
        found = [
            (moment - zero, *seen[account])
            for moment, seen in self._looks(self._begins.get(account, 0))
            if isinstance(seen, dict) and account in seen and moment - zero <= until
        ]
        frame = pd.DataFrame(found, columns=["offset", *COLUMNS])
        return frame.astype({"offset": "float64", **dict.fromkeys(COLUMNS, "int32")})

    def gaps(self, zero: float) -> list[tuple[float, str]]:
        """Looks that failed: seconds since `zero` and the reason; it tries again each second."""
        return [(moment - zero, seen) for moment, seen in self._looks(0) if isinstance(seen, str)]

    def _looks(self, begin: int) -> Iterator[tuple[float, dict[str, list[int]] | str]]:
        with self._path.open("rb") as file:
            file.seek(begin)
            for line in file:
                if line.endswith(b"\n"):  # else it is being written, or was torn by a crash
                    moment, seen = json.loads(line)
                    yield moment, seen

    def _quality(self, totals: dict[str, Any]) -> SamplerQuality:
        watching = totals["watching_seconds"]
        return SamplerQuality(
            asked_per_second=self._per_second,
            taken=totals["taken"],
            late=totals["late"],
            achieved_per_second=totals["taken"] / watching if watching else 0.0,
            cpu_seconds=totals["cpu_seconds"],
        )

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        self._send(command)
        try:
            line = self._lines.readline()
        except OSError as error:
            raise StackError(f"the database sampler did not answer ({error}); {self._tail()}") from error
        if not line:
            raise StackError(f"the database sampler ended by itself; {self._tail()}")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _send(self, command: dict[str, Any]) -> None:
        try:
            self._lines.write(json.dumps(command) + "\n")
            self._lines.flush()
        except OSError as error:
            raise StackError(f"the database sampler is gone ({error}); {self._tail()}") from error

    def _tail(self) -> str:
        return f"its log ends:\n{self._service.log_tail()}"

    def _end(self) -> None:
        self._channel.close()
        self._service.wait(waiting.SAMPLER_REPLY)
        self._provider.stop(self._service)
