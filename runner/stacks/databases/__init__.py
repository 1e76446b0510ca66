"""The databases that connbench knows: one row a database."""

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from runner.stacks.databases.base import Database, DatabaseSpec, Monitor
from runner.stacks.databases.hosted import HostedPostgres
from runner.stacks.databases.mysql import MariaDB, MariaDBSpec, MySQL, MySQLSpec
from runner.stacks.databases.mysql_monitor import MySQLMonitor
from runner.stacks.databases.postgres import Postgres, PostgresSpec
from runner.stacks.databases.postgres_monitor import PostgresMonitor

_ROWS: tuple[tuple[str, type[DatabaseSpec], type[Database], type[Monitor]], ...] = (
    ("postgres", PostgresSpec, Postgres, PostgresMonitor),
    ("mysql", MySQLSpec, MySQL, MySQLMonitor),
    ("mariadb", MariaDBSpec, MariaDB, MySQLMonitor),
)

#: By the `engine` of a matrix.
SPECS: Mapping[str, type[DatabaseSpec]] = {engine: spec for engine, spec, _, _ in _ROWS}
DATABASES: Mapping[str, type[Database]] = {engine: database for engine, _, database, _ in _ROWS}
MONITORS: Mapping[str, type[Monitor]] = {engine: monitor for engine, _, _, monitor in _ROWS}

if TYPE_CHECKING:
    AnyDatabaseSpec = DatabaseSpec
else:
    #: What a matrix may say of a database; the engine decides which of the specs it is.
    AnyDatabaseSpec = Annotated[reduce(or_, (spec for _, spec, _, _ in _ROWS)), Field(discriminator="engine")]


def make_database(spec: DatabaseSpec) -> Database:
    """The database that a spec asks for, not started yet."""
    if isinstance(spec, PostgresSpec) and spec.hosted:
        return HostedPostgres(spec)
    return DATABASES[spec.engine](spec)


__all__ = ["DATABASES", "MONITORS", "SPECS", "AnyDatabaseSpec", "DatabaseSpec", "make_database"]
