"""The sampler's look at MySQL and MariaDB."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from runner.errors import StackError
from runner.stacks.databases.base import Monitor, Reading
from runner.stacks.databases.mysql_copy import Cursor, rows
from runner.stacks.databases.mysql_driver import MySQLdb
from runner.stacks.databases.mysql_server import ADMIN, WayIn, connect

_IN_TRANSACTION = """
    SELECT t.processlist_id FROM performance_schema.events_transactions_current e
    JOIN performance_schema.threads t ON t.thread_id = e.thread_id
    WHERE e.state = 'ACTIVE' AND t.processlist_id IS NOT NULL
"""
_LOCK_WAITS = "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
# The server renews what information_schema.innodb_trx shows only when nobody has read it for 0.1 s
# (CACHE_MIN_IDLE_TIME_NS in InnoDB's trx0i_s.cc): read every 50 ms it would stay as it was for ever. Idleness
# in a transaction is taken from the performance schema, and lock waits are looked up less often.
_LOCK_VIEW_EVERY = 0.11
# Values of the column Command in which a session neither rests nor runs a statement: it comes or goes.
_PASSING = frozenset({"Connect", "Quit", "Kill", "Change user", "Reset connection"})


def client_sessions(cursor: Cursor) -> Sequence[tuple[Any, ...]]:
    """Rows of SHOW FULL PROCESSLIST without the server's own threads."""
    found = rows(cursor, "SHOW FULL PROCESSLIST")
    return [row for row in found if row[1] not in ("system user", "event_scheduler") and row[4] != "Daemon"]


class MySQLMonitor(Monitor):
    """Looks at `SHOW FULL PROCESSLIST`, and at the transactions behind it."""

    def __init__(self, way_in: WayIn, password: str) -> None:
        try:
            self._connection = connect(way_in, password)
        except MySQLdb.Error as error:
            raise StackError(f"the sampler could not connect: {error}") from error
        # Session to the statement in which it was seen to wait for a row's lock.
        self._in_lock_wait: dict[int, Any] = {}
        self._locks_seen_at = float("-inf")

    def look(self) -> Mapping[str, Reading]:
        """Who waits for a row's lock was seen to do so at most 0.11 s ago, in the same statement."""
        try:
            return self._look()
        except MySQLdb.Error as error:
            raise StackError(f"the sampler's connection failed: {error}") from error

    def _look(self) -> Mapping[str, Reading]:
        cursor: Cursor = self._connection.cursor()
        sessions = client_sessions(cursor)
        in_transaction = {int(row[0]) for row in rows(cursor, _IN_TRANSACTION)}
        self._look_at_locks(cursor, sessions)
        counts: dict[str, dict[str, int]] = {}
        for session, user, _host, _database, command, _time, state, statement, *_ in sessions:
            if user == ADMIN:
                continue
            of_user = counts.setdefault(str(user), {"total": 0})
            of_user["total"] += 1
            if command == "Sleep":
                kind = "idle_in_transaction" if session in in_transaction else "idle"
            elif command in _PASSING or user == "unauthenticated user":
                continue
            else:
                kind = "waiting" if self._waits(session, state, statement) else "active"
            of_user[kind] = of_user.get(kind, 0) + 1
        return {user: Reading(**of_user) for user, of_user in counts.items()}

    def _waits(self, session: int, state: object, statement: object) -> bool:
        """For a table's lock by the state's own words ("Waiting for table metadata lock"), or for a row's."""
        if str(state).startswith("Waiting for"):
            return True
        return session in self._in_lock_wait and self._in_lock_wait[session] == statement

    def _look_at_locks(self, cursor: Cursor, sessions: Sequence[tuple[Any, ...]]) -> None:
        now = time.monotonic()
        if now - self._locks_seen_at >= _LOCK_VIEW_EVERY:
            self._locks_seen_at = now
            in_wait = {int(row[0]) for row in rows(cursor, _LOCK_WAITS)}
            self._in_lock_wait = {row[0]: row[7] for row in sessions if row[0] in in_wait}

    def close(self) -> None:
        self._connection.close()
