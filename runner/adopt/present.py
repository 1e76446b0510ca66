"""How a project holds its connections at present, as a matrix writes it: what the others are compared with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from runner.durations import write_duration
from runner.stacks.app import Engine
from runner.stacks.connection import ConnectionSpec
from runner.stacks.dependencies import AppPackages, package_name
from runner.stacks.environment import PSYCOPG, PSYCOPG2
from runner.stacks.pools import found_pool

#: Of `DATABASES["default"]`, with what Django takes where it does not stand there.
CONNECTION: Mapping[str, Any] = {
    "CONN_MAX_AGE": 0,
    "CONN_HEALTH_CHECKS": False,
    "AUTOCOMMIT": True,
    "DISABLE_SERVER_SIDE_CURSORS": False,
}


@dataclass(frozen=True)
class OwnConnection:
    """`connection` as under a matrix's `connections:`; `left` names what no matrix can say, or has to be told."""

    connection: Mapping[str, Any]
    left: tuple[str, ...]


def own_connection(database: Mapping[str, Any], pool_settings: Mapping[str, Any]) -> OwnConnection:
    """What a project's `DATABASES["default"]` says, and for some pools the settings beside it."""
    given = {name.lower(): database[name] for name, usual in CONNECTION.items() if database.get(name, usual) != usual}
    connection, left = _taken(given)
    named = [name.upper() for name in left]
    pool = found_pool(database, pool_settings)
    # An empty pool is none.
    options = {name for name, value in database.get("OPTIONS", {}).items() if name != "pool" or value}
    if pool is not None:
        parameters, unknown = _taken(pool.parameters, pool.kind)
        connection = {"pool": {"kind": pool.kind, **parameters}, **connection}
        named += [f"the pool's {name}" for name in unknown]
        options -= pool.options
    else:
        connection = {"conn_max_age": 0, **connection}
    return OwnConnection(connection, (*named, *(f"OPTIONS[{name}]" for name in sorted(options))))


def own_drivers(
    database: Mapping[str, Any], pool_settings: Mapping[str, Any], mysql_driver: str, packages: AppPackages
) -> dict[Engine, str]:
    """The driver that the project itself would have on each database; without those of which nothing says it.

    `mysql_driver` is what its own code has put in MySQLdb's place. Django takes psycopg 3 wherever it is installed.
    """
    names = {package_name(one) for one in (*packages.requirements, *packages.constraints)}
    pool = found_pool(database, pool_settings)
    postgres = "psycopg" if names & PSYCOPG else "psycopg2" if names & PSYCOPG2 else ""
    mysql = next((driver for driver in ("mysqlclient", "pymysql") if driver in names), "")
    found: dict[Engine, str] = {
        "postgres": (pool.driver if pool is not None else "") or postgres,
        "mysql": mysql_driver or mysql,
    }
    return {engine: driver for engine, driver in found.items() if driver}


def _taken(given: Mapping[str, Any], pool: str = "") -> tuple[dict[str, Any], list[str]]:
    """What of these a matrix can say of a connection, or of its pool, as it writes it; and the names of the others."""
    taken: dict[str, Any] = {}
    for name, value in given.items():
        for written in _spellings(value):
            one = {name: written}
            try:
                ConnectionSpec.model_validate({"pool": {"kind": pool, **one}} if pool else one)
            except ValidationError:
                continue
            taken |= one
            break
    return taken, [name for name in given if name not in taken]


def _spellings(value: Any) -> Iterator[Any]:
    """As it is; and seconds with their unit, as a matrix has durations."""
    yield value
    if isinstance(value, int | float):
        yield write_duration(value)
