"""The database sampler's process: looks at the sessions at a steady rate and appends what it saw to a file.

It imports little, since it shares the machine with what is measured. Its one argument is the number of an
inherited socket, on which the runner sends JSON lines: first `{"engine", "arguments", "per_second", "path"}`,
then `{"watch": account}`, `{"unwatch": account}`, `{"report": true}` and `{"stop": true}`. It answers
`{"ready": true}` or `{"failed": reason}` to the first and `Totals` to the last two. When the socket ends, the
runner is gone, and it ends too.

The file has one JSON line a look: `[monotonic seconds, {account: [active, idle, idle in transaction, waiting,
total]}]`, with every account that is watched, zeros included; or `[monotonic seconds, "reason"]` where it
could not look. Each is one write, so that a crash can tear the last line at most.
"""

import json
import selectors
import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from runner.errors import StackError
from runner.stacks.databases import MONITORS
from runner.stacks.databases.base import Monitor, Reading

RECONNECT_SECONDS = 1.0


@dataclass
class Totals:
    """Since the process was ready. Nothing is asked while nothing is watched.

    `asked` are the looks that the schedule had. One that began more than half a period after its moment is
    `late`; one whose moment had passed before the look before it was over is never `taken`, nor is one that
    failed. `watching_seconds` is the time for which something was watched.
    """

    asked: int = 0
    taken: int = 0
    late: int = 0
    watching_seconds: float = 0.0
    cpu_seconds: float = 0.0


class Poller:
    """One process's state; `run` returns when it is told to stop or the runner is gone."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._incoming = b""
        self._watched: set[str] = set()
        self._totals = Totals()
        self._monitor: Monitor | None = None
        self._retry_at = 0.0

    def run(self) -> None:
        first = self._channel.makefile("rb", buffering=0).readline()
        if not first:
            return
        self._order = json.loads(first)
        self._period: float = 1.0 / self._order["per_second"]
        try:
            self._connect()
        except StackError as error:
            self._answer({"failed": str(error)})
            return
        with (
            Path(self._order["path"]).open("ab", buffering=0) as file,
            selectors.DefaultSelector() as selector,
        ):
            self._channel.setblocking(False)
            selector.register(self._channel, selectors.EVENT_READ)
            self._answer({"ready": True})
            self._cpu_before = time.process_time()
            self._poll(selector, file)
        if self._monitor is not None:
            self._monitor.close()

    def _connect(self) -> None:
        self._monitor = MONITORS[self._order["engine"]](**self._order["arguments"])

    def _poll(self, selector: selectors.BaseSelector, file: BinaryIO) -> None:
        """Looks when a look is due and hears commands between looks, even where those take all the time."""
        due: float | None = None
        while True:
            left = None if due is None else max(0.0, due - time.monotonic())
            if selector.select(left) and not self._receive():
                return
            if not self._watched:
                due = None
            elif due is None:
                due = time.monotonic()
            if due is not None and time.monotonic() >= due:
                due = self._look(due, file)

    def _look(self, due: float, file: BinaryIO) -> float:
        """One look; returns the moment of the next on the same schedule, past moments left out."""
        began = time.monotonic()
        seen = self._see(began)
        if seen is not None:
            file.write(json.dumps([round(began, 6), seen], separators=(",", ":")).encode() + b"\n")
        self._totals.taken += isinstance(seen, dict)
        self._totals.late += began - due > self._period / 2
        steps = max(1, int((time.monotonic() - due) / self._period) + 1)
        self._totals.asked += steps
        self._totals.watching_seconds += steps * self._period
        return due + steps * self._period

    def _see(self, now: float) -> dict[str, list[int]] | str | None:
        """What there is to see, or the reason why there is nothing; None while it waits to connect again."""
        try:
            if self._monitor is None:
                if now < self._retry_at:
                    return None
                self._connect()
            assert self._monitor is not None
            found = self._monitor.look()
        except StackError as error:
            self._monitor = None
            self._retry_at = now + RECONNECT_SECONDS
            return str(error)
        return {name: _row(found.get(name, _NONE)) for name in sorted(self._watched)}

    def _receive(self) -> bool:
        """Takes in commands; whether to go on."""
        data = self._channel.recv(65_536)
        *lines, self._incoming = (self._incoming + data).split(b"\n")
        for line in lines:
            command: dict[str, Any] = json.loads(line)
            if "watch" in command:
                self._watched.add(command["watch"])
            elif "unwatch" in command:
                self._watched.discard(command["unwatch"])
            else:
                self._totals.cpu_seconds = time.process_time() - self._cpu_before
                self._answer(asdict(self._totals))
                if "stop" in command:
                    return False
        return bool(data)

    def _answer(self, content: dict[str, Any]) -> None:
        self._channel.sendall(json.dumps(content).encode() + b"\n")


_NONE = Reading()


def _row(reading: Reading) -> list[int]:
    return [reading.active, reading.idle, reading.idle_in_transaction, reading.waiting, reading.total]


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as inherited:
        Poller(inherited).run()
