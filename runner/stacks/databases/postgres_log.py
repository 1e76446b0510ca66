"""PostgreSQL's connection log as a book: who was let in, turned away and gone, in the server's order."""

from dataclasses import dataclass, field
from pathlib import Path

from runner.stacks.growing_log import GrowingLog

# Milliseconds since the epoch, process, error code, client's address and port, user, database.
LINE_PREFIX = "connbench\t%n\t%p\t%e\t%r\t%u\t%d\t"
# What the server must be told, so that its log is this book. lc_messages keeps its words English.
SETTINGS = {
    "log_connections": "on",
    "log_disconnections": "on",
    "log_line_prefix": LINE_PREFIX,
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_min_messages": "warning",
    "lc_messages": "C",
}
# https://www.postgresql.org/docs/current/errcodes-appendix.html: too_many_connections
_TOO_MANY = "53300"


@dataclass
class Tally:
    """What the log says of one database.

    `changes` has +1 for each session that was let in and -1 for each that had gone, in order; `ports` the
    clients' ports of the former, in order.
    """

    opened: int = 0
    refused: int = 0
    changes: list[int] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    #: Sessions that are open: process to its place in `changes`.
    live: dict[int, int] = field(default_factory=dict)

    def peak(self, since: int, open_then: int) -> int:
        """The most sessions at once from the place `since` of `changes` on, when `open_then` were open."""
        now = most = open_then
        for change in self.changes[since:]:
            now += change
            most = max(most, now)
        return most


class ConnectionLog:
    """Reads the server's log as it grows."""

    def __init__(self, path: Path) -> None:
        self._log = GrowingLog(path)
        self._tallies: dict[str, Tally] = {}

    def tally(self, database: str) -> Tally:
        return self._tallies.setdefault(database, Tally())

    def forget(self, database: str) -> None:
        self._tallies.pop(database, None)

    def server_stopped(self) -> None:
        """No session outlives the server, whether or not it came to say that it ended."""
        self.read()
        for tally in self._tallies.values():
            tally.changes += [-1] * len(tally.live)
            tally.live.clear()

    def read(self) -> None:
        """Takes in the whole lines that have been written since the last call."""
        for line in self._log.lines():
            if line.startswith(b"connbench\t"):
                self._line(line.decode(errors="replace"))

    def _line(self, line: str) -> None:
        _, _time, pid_text, code, remote, _user, database, text = line.split("\t", 7)
        pid = int(pid_text)
        if text.startswith("LOG:  connection authorized:"):
            tally = self.tally(database)
            tally.opened += 1
            tally.live[pid] = len(tally.changes)
            tally.changes.append(1)
            # "127.0.0.1(41234)"; a connection through a socket file says "[local]".
            tally.ports.append(int(remote[remote.rfind("(") + 1 : -1]) if remote.endswith(")") else 0)
        elif text.startswith("LOG:  disconnection:"):
            tally = self.tally(database)
            if tally.live.pop(pid, None) is not None:
                tally.changes.append(-1)
        elif code == _TOO_MANY:
            tally = self.tally(database)
            tally.refused += 1
            place = tally.live.pop(pid, None)
            if place is not None:  # turned away after the password, for want of an unreserved slot
                tally.opened -= 1
                tally.changes[place] = 0
