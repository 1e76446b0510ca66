"""The rules by which a cell cannot exist. Each names what would happen, as tried on Django 5.2 and 6.1."""

from collections.abc import Callable
from typing import NamedTuple

from runner.stacks.connection import ConnectionSpec
from runner.stacks.databases import AnyDatabaseSpec
from runner.stacks.packages import environment_with
from runner.stacks.servers import AnyServerSpec
from runner.stacks.servers.gunicorn import GunicornSpec


class Combination(NamedTuple):
    """What the rules look at."""

    database: AnyDatabaseSpec
    server: AnyServerSpec
    connection: ConnectionSpec


def _pool_without_postgres(combination: Combination) -> str | None:
    if combination.connection.pool is None or combination.database.engine == "postgres":
        return None
    return "Django's native pool is PostgreSQL's alone: on MySQL and MariaDB the first query is a TypeError"


def _pool_without_psycopg_3(combination: Combination) -> str | None:
    if combination.connection.pool is None or combination.database.driver != "psycopg2":
        return None
    return "Django's native pool needs psycopg 3: with psycopg2 the first query is an ImproperlyConfigured"


def _pool_with_persistent_connections(combination: Combination) -> str | None:
    connection = combination.connection
    if connection.pool is None or connection.conn_max_age == 0:
        return None
    age = "null" if connection.conn_max_age is None else connection.conn_max_age
    return f"a pool needs conn_max_age 0, not {age}: otherwise the first query is an ImproperlyConfigured"


def _pool_smaller_than_its_least(combination: Combination) -> str | None:
    pool = combination.connection.pool
    if pool is None or pool.max_size is None or pool.max_size >= pool.min_size:
        return None
    default = "" if "min_size" in pool.model_fields_set else " (its default)"
    least = f"min_size {pool.min_size}{default}"
    return f"max_size {pool.max_size} is below {least}: the first query is a ValueError"


def _pool_without_any_connection(combination: Combination) -> str | None:
    pool = combination.connection.pool
    # Without max_size a pool is exactly as large as min_size.
    if pool is None or pool.max_size is not None or pool.min_size > 0:
        return None
    return "min_size 0 needs a max_size: without it the pool's size is 0 and the first query is a ValueError"


def _psycogreen_without_psycopg2(combination: Combination) -> str | None:
    server = combination.server
    if not isinstance(server, GunicornSpec) or not server.psycogreen or combination.database.driver == "psycopg2":
        return None
    if combination.database.engine == "postgres":
        return "psycogreen is for psycopg2: psycopg 3 gives way to other greenlets by itself"
    return f"psycogreen is for psycopg2: it does nothing for {combination.database.driver}"


def _packages_that_no_environment_has(combination: Combination) -> str | None:
    needed = combination.database.packages | combination.server.packages | combination.connection.packages
    if environment_with(needed) is not None:
        return None
    return f"no locked app environment has all of {', '.join(sorted(needed))}"


RULES: tuple[Callable[[Combination], str | None], ...] = (
    _pool_without_postgres,
    _pool_without_psycopg_3,
    _pool_with_persistent_connections,
    _pool_smaller_than_its_least,
    _pool_without_any_connection,
    _psycogreen_without_psycopg2,
    # The last: it knows no better reason than that there is none.
    _packages_that_no_environment_has,
)


def why_impossible(combination: Combination) -> str | None:
    """The first reason why the combination cannot exist, in words; None if it can."""
    return next((reason for rule in RULES if (reason := rule(combination)) is not None), None)
