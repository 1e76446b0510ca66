"""What a run makes on a server that is not its own: written down there before it is made, and dropped in the end.

The names are kept in a table of the database that the URL names, so that whoever comes next, from whatever machine,
can drop what a killed run has left, and cannot take anything else for it. One run at a time holds the database.
"""

import contextlib
import socket
from collections.abc import Collection

import psycopg
from psycopg import sql

from runner import waiting
from runner.errors import ConnbenchError, EnvironmentUnfit
from runner.provision.journal import own_mark
from runner.stacks.databases.hosted_place import SCHEMA, TABLE, Place, enter, read_url
from runner.stacks.databases.postgres_monitor import Session

#: Any number: who has this lock in the database measures on the server.
LOCK = 0x636F6E6E
# A session whose client was killed is let go when the server comes to notice.
LOCK_WAIT = 3.0


class Home:
    """The database that the URL names, in one session of the harness's own."""

    def __init__(self, session: Session, place: Place, *, may_make_roles: bool) -> None:
        self._session = session
        self._place = place
        self._may_make_roles = may_make_roles
        #: Of this process: another database of the same run may be at the same place.
        self._run = own_mark()

    def take(self) -> int:
        """Has it for this process, and drops what is left of others; how many databases that were.

        EnvironmentUnfit where another run has it.
        """
        own = f"connbench {self._run}"
        self._session.execute(sql.SQL("SET application_name = {}").format(sql.Literal(own)))
        if waiting.wait_for(lambda: self._lock(own) or None, LOCK_WAIT) is None:
            raise EnvironmentUnfit(f"another run measures on the server at {self._place.variable}: wait for its end")
        return len(self.drop_all(self._left()))

    def _lock(self, own: str) -> bool:
        if self._session.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchall()[0][0]:
            return True
        return [(own,)] == self._session.execute(_HOLDERS, [LOCK]).fetchall()

    def _left(self) -> list[str]:
        if not self._session.execute("SELECT to_regclass(%s)", [f"{SCHEMA}.{TABLE}"]).fetchall()[0][0]:
            return []
        return [str(row[0]) for row in self._session.execute(_OTHERS, [self._run]).fetchall()]

    def note(self, name: str) -> None:
        """Before a database, and its role, of that name is made."""
        with self._session.transaction():
            self._session.execute(_KEEP)
            self._session.execute(_NOTE, [name, self._run, socket.gethostname()])

    def drop(self, name: str) -> None:
        """The database, the role and the note, as far as they are there."""
        self._drop_database(name)
        self._drop_role(name)

    def drop_all(self, names: Collection[str]) -> Collection[str]:
        """The same for many; a template's role owns what is in its copies, so the roles come last."""
        for name in names:
            self._drop_database(name)
        for name in names:
            self._drop_role(name)
        return names

    def _drop_database(self, name: str) -> None:
        self._session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _drop_role(self, name: str) -> None:
        if self._may_make_roles:
            self._session.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))
        self._session.execute(_FORGET, [name])

    def leave(self) -> None:
        """Removes the table, unless there is something in it."""
        with contextlib.suppress(psycopg.Error), self._session.transaction():
            if not self._session.execute(_ANY).fetchall()[0][0]:
                self._session.execute(_UNKEEP)


def clean(variable: str) -> str:
    """Drops what runs that were killed have left at the place that the variable names; in words what became of it."""
    try:
        return f"{_clean(variable)} databases dropped at {variable}"
    except (ConnbenchError, psycopg.Error) as error:
        return f"databases may be left at {variable}, which the next run there drops ({error})"


def _clean(variable: str) -> int:
    place = read_url(variable, "prefer")
    with enter(place) as session:
        (may_make_roles,) = session.execute(_ROLES).fetchall()[0]
        home = Home(session, place, may_make_roles=may_make_roles)
        dropped = home.take()
        home.leave()
    return dropped


_ROLES = "SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user"
_HOLDERS = """
    SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.objid = %s AND l.granted
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_KEEP = f"""
    CREATE SCHEMA IF NOT EXISTS {SCHEMA};
    CREATE TABLE IF NOT EXISTS {SCHEMA}.{TABLE} (name text PRIMARY KEY, run text NOT NULL, host text NOT NULL)
"""
_NOTE = f"INSERT INTO {SCHEMA}.{TABLE} VALUES (%s, %s, %s)"
_OTHERS = f"SELECT name FROM {SCHEMA}.{TABLE} WHERE run <> %s"
_FORGET = f"DELETE FROM {SCHEMA}.{TABLE} WHERE name = %s"
_ANY = f"SELECT EXISTS (SELECT FROM {SCHEMA}.{TABLE})"
_UNKEEP = f"DROP TABLE {SCHEMA}.{TABLE}; DROP SCHEMA {SCHEMA}"
