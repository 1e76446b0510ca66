"""The rules by which a cell cannot exist. Each names what would happen, as tried on Django 5.2 and 6.1."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from runner.matrix.phases import PhaseSpec, faults
from runner.stacks.connection import ConnectionSpec
from runner.stacks.databases import AnyDatabaseSpec
from runner.stacks.packages import ENVIRONMENTS, environment_with, locked_version
from runner.stacks.poolers import AnyPoolerSpec
from runner.stacks.pools import PoolSpec
from runner.stacks.pools.compatibility import why_not
from runner.stacks.servers import AnyServerSpec
from runner.stacks.servers.gunicorn import GunicornSpec
from runner.stacks.versions import PYTHON


class Combination(NamedTuple):
    """What the rules look at."""

    database: AnyDatabaseSpec
    server: AnyServerSpec
    connection: ConnectionSpec
    phases: tuple[PhaseSpec, ...] = ()
    pooler: AnyPoolerSpec | None = None
    #: Package to version where it is not the locked one.
    versions: Mapping[str, str] = MappingProxyType({})


def _pool_in_bad_company(combination: Combination) -> str | None:
    database, server, connection = combination.database, combination.server, combination.connection
    pool = connection.pool
    if pool is None:
        return None
    return pool.why_impossible(database, server, connection.conn_max_age) or _tried_in_vain(combination, pool)


def _tried_in_vain(combination: Combination, pool: PoolSpec) -> str | None:
    server = combination.server
    mode = "gevent" if server.cooperative else "one thread" if server.threads_per_process == 1 else "threads"
    environment = environment_with(_needed(combination)) or environment_with(pool.packages)
    django = combination.versions.get("django") or locked_version(environment or ENVIRONMENTS[0], "django")
    return why_not(pool.kind, combination.database.driver, mode, django)


def _needed(combination: Combination) -> frozenset[str]:
    return combination.database.packages | combination.server.packages | combination.connection.packages


def _psycogreen_without_psycopg2(combination: Combination) -> str | None:
    server = combination.server
    if not isinstance(server, GunicornSpec) or not server.psycogreen or combination.database.driver == "psycopg2":
        return None
    if combination.database.engine == "postgres":
        return "psycogreen is for psycopg2: psycopg 3 gives way to other greenlets by itself"
    return f"psycogreen is for psycopg2: it does nothing for {combination.database.driver}"


def _pooler_that_cannot_stand_there(combination: Combination) -> str | None:
    return None if combination.pooler is None else combination.pooler.why_not(combination.database)


def _interpreter_that_is_not_the_servers(combination: Combination) -> str | None:
    asked = combination.versions.get(PYTHON)
    if asked is None or not combination.server.system_python:
        return None
    return f"{combination.server.kind} is compiled for the system's own Python: python {asked} cannot be asked for"


def _packages_that_no_environment_has(combination: Combination) -> str | None:
    needed = _needed(combination)
    if environment_with(needed) is not None:
        return None
    return f"no locked app environment has all of {', '.join(sorted(needed))}"


def _reload_that_no_signal_asks_for(combination: Combination) -> str | None:
    if "reload-workers" not in faults(combination.phases) or combination.server.reload_signal is not None:
        return None
    return f"{combination.server.title} has no signal for a graceful reload"


def _fault_in_a_server_that_is_not_ours(combination: Combination) -> str | None:
    asked = faults(combination.phases) & {"restart-database", "pause-database"}
    if not combination.database.hosted or not asked:
        return None
    return f"{min(asked)}: a server at `url_from` is neither started nor stopped by a run"


RULES: tuple[Callable[[Combination], str | None], ...] = (
    _pool_in_bad_company,
    _psycogreen_without_psycopg2,
    _reload_that_no_signal_asks_for,
    _pooler_that_cannot_stand_there,
    _fault_in_a_server_that_is_not_ours,
    _interpreter_that_is_not_the_servers,
    # The last: it knows no better reason than that there is none.
    _packages_that_no_environment_has,
)


def why_impossible(combination: Combination) -> str | None:
    """The first reason why the combination cannot exist, in words; None if it can."""
    return next((reason for rule in RULES if (reason := rule(combination)) is not None), None)
