"""What each pool is told, in which company it works, and what one process holds."""

from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from runner.provision.commands import run_command
from runner.provision.service import Address, Command
from runner.stacks.app import Process, django_database
from runner.stacks.connection import ConnectionSpec
from runner.stacks.databases import AnyDatabaseSpec, DatabaseSpec
from runner.stacks.databases.base import Account
from runner.stacks.drivers import DRIVERS
from runner.stacks.environment import build_environment
from runner.stacks.packages import ENVIRONMENTS, environment_with, locked_packages
from runner.stacks.pools import POOLS, AnyPoolSpec, Demand, PoolSpec
from runner.stacks.pools.compatibility import MODES, trials, why_not
from runner.stacks.pools.native import NativePoolSpec
from runner.stacks.versions import Recipe

# Django gives these itself, or they are Python objects.
NOT_PLAIN = {"conninfo", "kwargs", "open", "configure", "check", "connection_class", "reset", "reconnect_failed"}


def pool(kind: str, **parameters: Any) -> PoolSpec:
    spec: PoolSpec = TypeAdapter(AnyPoolSpec).validate_python({"kind": kind, **parameters})
    return spec


def database(driver: str) -> DatabaseSpec:
    engine = "mysql" if "mysql" in driver else "postgres"
    spec: DatabaseSpec = TypeAdapter(AnyDatabaseSpec).validate_python({"engine": engine, "driver": driver})
    return spec


def settings(driver: str, kind: str, **parameters: Any) -> dict[str, Any]:
    connection = ConnectionSpec.model_validate({"pool": {"kind": kind, **parameters}, "options": {"own": 1}})
    return django_database(database(driver), connection, Account("d", "u", "p"), Address("127.0.0.1", 1))


# --- what it is told ---


def test_the_native_pool_is_given_what_is_not_its_default() -> None:
    options = settings("psycopg", "native", min_size=1, max_size=2, max_idle="2m", num_workers=1)["OPTIONS"]
    assert options == {"own": 1, "pool": {"min_size": 1, "max_size": 2, "max_idle": 120.0, "num_workers": 1}}


@pytest.mark.server
def test_every_parameter_of_psycopgs_pool_is_there() -> None:
    """As the installed one has them."""
    program = "import inspect, psycopg_pool; print(*inspect.signature(psycopg_pool.ConnectionPool).parameters)"
    python = build_environment(Recipe("psycopg3")).bin / "python"
    names = run_command(Command([str(python), "-c", program]), limit=60, what="psycopg_pool's signature").split()
    assert set(names) - NOT_PLAIN == set(NativePoolSpec.model_fields) - {"kind"}


@pytest.mark.parametrize(("driver", "backend"), [("psycopg", "postgresql"), ("pymysql", "mysql")])
def test_dj_db_conn_pool(driver: str, backend: str) -> None:
    found = settings(driver, "dj_db_conn_pool", pool_size=3, max_overflow=2, recycle=None)
    assert found["ENGINE"] == f"dj_db_conn_pool.backends.{backend}"
    assert found["POOL_OPTIONS"] == {
        "POOL_SIZE": 3,
        "MAX_OVERFLOW": 2,
        "RECYCLE": -1,
        "TIMEOUT": 30.0,
        "PRE_PING": True,
    }


def test_postgrespool2_is_told_by_a_setting_of_its_own() -> None:
    connection = ConnectionSpec.model_validate({"pool": {"kind": "postgrespool2", "pool_size": 2}})
    assert settings("psycopg2", "postgrespool2")["ENGINE"] == "django_postgrespool2"
    process = Process.of(database("psycopg2"), connection)
    assert process.pooled
    assert process.settings["DATABASE_POOL_ARGS"]["pool_size"] == 2
    assert process.settings["DATABASE_POOL_ARGS"]["max_overflow"] == 10


@pytest.mark.parametrize(
    ("driver", "backend"), [("psycopg", "postgresql_psycopg3"), ("psycopg2", "postgresql_psycopg2")]
)
def test_geventpool(driver: str, backend: str) -> None:
    found = settings(driver, "geventpool", max_conns=6)
    assert found["ENGINE"] == f"django_db_geventpool.backends.{backend}"
    assert found["OPTIONS"] == {"own": 1, "MAX_CONNS": 6, "REUSE_CONNS": 6}
    assert settings(driver, "geventpool", max_conns=6, reuse_conns=2)["OPTIONS"]["REUSE_CONNS"] == 2


def test_without_a_pool_nothing_more_is_said() -> None:
    assert Process.of(database("mysqlclient"), ConnectionSpec()) == Process("mysqlclient", pooled=False, settings={})


# --- where it works ---


def test_every_pool_can_be_had() -> None:
    for kind in POOLS:
        spec = kind.model_validate({"kind": get_args(kind.model_fields["kind"].annotation)[0]})
        assert environment_with(spec.packages) is not None


def test_every_driver_can_be_had() -> None:
    for name, driver in DRIVERS.items():
        assert any(driver.package in locked_packages(environment) for environment in ENVIRONMENTS)
        assert database(name).packages == {driver.package}


def test_the_table_has_every_pair() -> None:
    tried = {(trial.kind, trial.driver, trial.mode) for trial in trials() if trial.django == "5.2"}
    kinds = [get_args(kind.model_fields["kind"].annotation)[0] for kind in POOLS]
    assert tried == {(kind, driver, mode) for kind in kinds for driver in DRIVERS for mode in MODES}
    assert {trial.django for trial in trials()} >= {"5.2", "6.1"}


def test_what_was_tried_in_vain_is_the_reason() -> None:
    found = why_not("native", "mysqlclient", "threads", "5.2.19")
    assert found is not None
    assert "native with mysqlclient in threads (django 5.2." in found
    assert "TypeError" in found
    assert why_not("native", "psycopg", "threads", "5.2.19") is None


def test_nothing_is_known_of_what_was_not_tried() -> None:
    assert why_not("native", "mysqlclient", "threads", "3.2.1") is None


# --- what one process holds ---


@pytest.mark.parametrize(
    ("kind", "parameters", "demand", "under_load", "kept", "opened", "words"),
    [
        ("native", {"max_lifetime": "2s"}, Demand(4, "threads", 6), (1, 4), (0, 4), None, "max_size 4, replaced when"),
        ("native", {"max_lifetime": "7s"}, Demand(4, "threads", 6), (4, 4), (4, 4), 4, "max_size 4"),
        (
            "native",
            {"min_size": 1, "max_size": 8, "max_idle": "2s"},
            Demand(6, "threads", 6),
            (1, 6),
            (1, 6),
            None,
            "6 threads at once, fewer after max_idle",
        ),
        (
            "dj_db_conn_pool",
            {},
            Demand(4, "threads", 6),
            (1, 4),
            (1, 4),
            4,
            "4 threads at once",
        ),
        (
            "dj_db_conn_pool",
            {"pool_size": 2, "max_overflow": 1},
            Demand(8, "threads", 6),
            (1, 3),
            (1, 2),
            None,
            "(pool_size 2 + max_overflow 1), pool_size 2 of them kept",
        ),
        (
            "dj_db_conn_pool",
            {"pool_size": 2, "max_overflow": 1},
            Demand(8, "requests", 6, persistent=True),
            (1, 3),
            (1, 3),
            3,
            "(pool_size 2 + max_overflow 1)",
        ),
        (
            "dj_db_conn_pool",
            {"pool_size": 2, "max_overflow": -1, "recycle": "1s"},
            Demand(8, "requests", 6),
            (1, 8),
            (0, 2),
            None,
            "8 requests at once, pool_size 2 of them kept",
        ),
        ("postgrespool2", {"pool_size": 0}, Demand(9, "threads", 6), (1, 9), (1, 9), 9, "9 threads at once"),
        (
            "postgrespool2",
            {"max_overflow": 0},
            Demand(9, "threads", 6),
            (1, 5),
            (1, 5),
            5,
            "(pool_size 5 + max_overflow 0)",
        ),
    ],
)
def test_bounds(
    kind: str,
    parameters: dict[str, Any],
    demand: Demand,
    under_load: tuple[int, int],
    kept: tuple[int, int],
    opened: int | None,
    words: str,
) -> None:
    found = pool(kind, **parameters).bounds(demand)
    assert (found.least, found.most) == under_load
    assert (found.kept_least, found.kept) == kept
    assert found.opened == opened
    assert found.words.startswith(words)
