"""The harness's own sessions on a PostgreSQL server, and what the sampler sees through one of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import psycopg

from runner import waiting
from runner.errors import StackError
from runner.provision.service import Address
from runner.stacks.databases.base import Monitor, Reading

Session: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"


@dataclass(frozen=True)
class WayIn:
    """How the harness's own sessions get in. They live in `home`, where no account's session can."""

    user: str
    password: str = field(repr=False)
    home: str = "postgres"
    sslmode: str = "disable"
    #: What else libpq is to be told, by its own names.
    more: Mapping[str, str] = field(default_factory=dict)


def connect(address: Address, way_in: WayIn, limit: int | None = None) -> Session:
    """A session of the harness's own: every statement its own transaction. At most `limit` seconds to connect."""
    return psycopg.connect(
        host=address.host,
        port=address.port,
        dbname=way_in.home,
        user=way_in.user,
        password=way_in.password,
        autocommit=True,
        connect_timeout=limit or waiting.DATABASE_CONNECT,
        application_name="connbench",
        sslmode=way_in.sslmode,
        **cast("dict[str, Any]", way_in.more),
    )


_LOOK = """
    SELECT datname,
           count(*) FILTER (WHERE running AND NOT blocked),
           count(*) FILTER (WHERE state = 'idle'),
           count(*) FILTER (WHERE state LIKE 'idle in transaction%'),
           count(*) FILTER (WHERE running AND blocked),
           count(*)
    FROM (SELECT datname, state, state IN ('active', 'fastpath function call') AS running,
                 coalesce(wait_event_type = 'Lock', false) AS blocked
          FROM pg_stat_activity
          WHERE backend_type = 'client backend' AND datname IS NOT NULL
            AND NOT (usename = current_user AND application_name ~ '^connbench')) s
    GROUP BY datname
"""


class PostgresMonitor(Monitor):
    """Looks at `pg_stat_activity` through a session in the harness's own database."""

    def __init__(self, host: str, port: int, **way_in: Any) -> None:
        try:
            self._connection = connect(Address(host, port), WayIn(**way_in))
        except psycopg.Error as error:
            raise StackError(f"the sampler could not connect: {error}") from error
        # Planned once: the statement is the same each time.
        self._connection.prepare_threshold = 0

    def look(self) -> Mapping[str, Reading]:
        try:
            rows = self._connection.execute(_LOOK).fetchall()
        except psycopg.Error as error:
            raise StackError(f"the sampler's connection failed: {error}") from error
        return {str(row[0]): Reading(*row[1:]) for row in rows}

    def close(self) -> None:
        self._connection.close()
