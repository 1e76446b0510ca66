"""A project's own connection settings, as a matrix writes them: all that they say, or what is missing by its name."""

from collections.abc import Sequence
from typing import Any

import pytest

from runner.adopt.present import own_connection, own_drivers
from runner.stacks.connection import ConnectionSpec
from runner.stacks.dependencies import AppPackages

PG = "django.db.backends.postgresql"
GEVENTPOOL = "django_db_geventpool.backends.postgresql_psycopg"
QUEUE = {"pool_size": 3, "max_overflow": 0}


def default(engine: str = PG, **more: Any) -> dict[str, Any]:
    return {"ENGINE": engine, "OPTIONS": {}, "POOL_OPTIONS": {}, **more}


@pytest.mark.parametrize(
    ("database", "connection"),
    [
        ({}, {"conn_max_age": 0}),
        (default(), {"conn_max_age": 0}),
        (default(CONN_MAX_AGE=None), {"conn_max_age": None}),
        (default(CONN_MAX_AGE=60, CONN_HEALTH_CHECKS=True), {"conn_max_age": 60, "conn_health_checks": True}),
        (
            default(AUTOCOMMIT=False, DISABLE_SERVER_SIDE_CURSORS=True),
            {"conn_max_age": 0, "autocommit": False, "disable_server_side_cursors": True},
        ),
        (default(AUTOCOMMIT=True, DISABLE_SERVER_SIDE_CURSORS=False), {"conn_max_age": 0}),
        (default(OPTIONS={"pool": True}), {"pool": {"kind": "native"}}),
        (default(OPTIONS={"pool": {}}), {"conn_max_age": 0}),
        (
            default(OPTIONS={"pool": {"min_size": 2, "max_size": 20, "timeout": 10, "max_idle": 9.5, "name": "<str>"}}),
            {"pool": {"kind": "native", "min_size": 2, "max_size": 20, "timeout": "10s", "max_idle": "9.5s"}},
        ),
        (
            default(OPTIONS={"pool": {"max_size": None, "max_waiting": 5}}, CONN_HEALTH_CHECKS=True),
            {"pool": {"kind": "native", "max_waiting": 5}, "conn_health_checks": True},
        ),
        (
            default("dj_db_conn_pool.backends.mysql", POOL_OPTIONS={"POOL_SIZE": 3, "RECYCLE": -1, "pool_size": 9}),
            {"pool": {"kind": "dj_db_conn_pool", "pool_size": 3, "recycle": None}},
        ),
        (
            default("dj_db_conn_pool.backends.postgresql", POOL_OPTIONS={"PRE_PING": False, "RECYCLE": 60}),
            {"pool": {"kind": "dj_db_conn_pool", "pre_ping": False, "recycle": "60s"}},
        ),
        (
            default("django_postgrespool2", CONN_MAX_AGE=9),
            {"pool": {"kind": "postgrespool2", **QUEUE}, "conn_max_age": 9},
        ),
        (
            default(f"{GEVENTPOOL}3", OPTIONS={"MAX_CONNS": 20, "REUSE_CONNS": 10}),
            {"pool": {"kind": "geventpool", "max_conns": 20, "reuse_conns": 10}},
        ),
    ],
)
def test_what_the_settings_say_is_what_the_matrix_has(database: dict[str, Any], connection: dict[str, Any]) -> None:
    found = own_connection(database, {"DATABASE_POOL_ARGS": QUEUE})
    assert (found.connection, found.left) == (connection, ())
    ConnectionSpec.model_validate(found.connection)


@pytest.mark.parametrize(
    ("database", "left"),
    [
        (default(CONN_MAX_AGE="<str>"), ["CONN_MAX_AGE"]),
        (default(OPTIONS={"sslmode": "<str>", "isolation_level": 3}), ["OPTIONS[isolation_level]", "OPTIONS[sslmode]"]),
        (
            default(OPTIONS={"pool": {"max_size": 2, "min_size": 1, "reset": "<function>"}, "service": "<str>"}),
            ["the pool's reset", "OPTIONS[service]"],
        ),
        (default(OPTIONS={"pool": {"max_lifetime": 7200}}), ["the pool's max_lifetime"]),
        (default("django_postgrespool2"), ["the pool's echo"]),
    ],
)
def test_what_no_matrix_can_say_is_named(database: dict[str, Any], left: list[str]) -> None:
    found = own_connection(database, {"DATABASE_POOL_ARGS": {"pool_size": 3, "echo": True}})
    assert list(found.left) == left
    ConnectionSpec.model_validate(found.connection)


@pytest.mark.parametrize(
    ("engine", "mysql", "requirements", "locked", "drivers"),
    [
        (PG, "", ["django"], [], {}),
        (PG, "", ["psycopg2-binary>=2.9", "django"], [], {"postgres": "psycopg2"}),
        (PG, "", ["Psycopg2"], ["psycopg==3.2.1"], {"postgres": "psycopg"}),
        (PG, "", ["psycopg[binary]"], [], {"postgres": "psycopg"}),
        (PG, "", ["PyMySQL", "mysqlclient"], [], {"mysql": "mysqlclient"}),
        (PG, "", ["PyMySQL"], [], {"mysql": "pymysql"}),
        (PG, "pymysql", ["mysqlclient"], [], {"mysql": "pymysql"}),
        (f"{GEVENTPOOL}2", "", ["psycopg"], [], {"postgres": "psycopg2"}),
        (f"{GEVENTPOOL}3", "", [], [], {"postgres": "psycopg"}),
        ("django_postgrespool2", "", [], [], {"postgres": "psycopg2"}),
    ],
)
def test_the_driver_is_the_projects_own(
    engine: str, mysql: str, requirements: Sequence[str], locked: Sequence[str], drivers: dict[str, str]
) -> None:
    packages = AppPackages("mine", tuple(requirements), tuple(locked))
    assert own_drivers(default(engine), {}, mysql, packages) == drivers
