"""What is printed to be pasted: it is Python, a command line, and nothing of the harness's own."""

import copy
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from runner.matrix.cells import Cell
from runner.provision.service import Address
from runner.report.paste import paste_of
from runner.stacks.app import holding_settings, load_app
from runner.stacks.databases.base import Account
from runner.stacks.drivers import DRIVERS
from runner.stacks.poolers.pgbouncer import PgBouncer, PgBouncerSpec
from runner.stacks.pools import POOLS
from tests.matrix.examples import (
    GEVENT,
    GTHREAD,
    MYSQL,
    POSTGRES,
    PSYCOPG2,
    RUNSERVER,
    SYNC,
    UVICORN,
    UWSGI,
    UWSGI_GEVENT,
    age,
    bouncer,
    make_cell,
    pool,
)

APP = load_app("shop").description
REPLICATED = APP.model_copy(update={"databases": {"replica": "default", "stock": "none"}})
HOSTED = {"engine": "postgres", "url_from": "DATABASE_URL"}
PYMYSQL = {"engine": "mysql", "driver": "pymysql"}
#: One of each way to hold connections that the registries know.
WAYS: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "per request": (POSTGRES, age(0)),
    "kept": (POSTGRES, {"conn_max_age": None, "conn_health_checks": True}),
    "native": (POSTGRES, pool(min_size=2, max_size=4, timeout="5s")),
    "dj_db_conn_pool": (POSTGRES, {"pool": {"kind": "dj_db_conn_pool", "pool_size": 3, "recycle": "5m"}}),
    "geventpool": (POSTGRES, {"pool": {"kind": "geventpool", "max_conns": 3}}),
    "postgrespool2": (PSYCOPG2, {"pool": {"kind": "postgrespool2", "pool_size": 3}}),
    "psycopg2": (PSYCOPG2, age(60)),
    "mysqlclient": (MYSQL, age(60)),
    "pymysql": (PYMYSQL, {"pool": {"kind": "dj_db_conn_pool"}}),
    "options": (POSTGRES, {"conn_max_age": 60, "options": {"application_name": 'a "b" \\ c'}}),
    "one transaction": (POSTGRES, {"conn_max_age": 60, "atomic_requests": True, "autocommit": False}),
    "hosted": (HOSTED, age(60)),
    "encrypted": ({"engine": "postgres", "tls": True}, age(60)),
}
#: `DATABASES["default"]` as apps have it before.
PLAIN = {"ENGINE": "django.db.backends.postgresql", "NAME": "app", "USER": "me", "PASSWORD": "secret", "HOST": "db"}
BEFORE: Mapping[str, dict[str, Any]] = {
    "plain": PLAIN,
    "atomic": {**PLAIN, "ATOMIC_REQUESTS": True, "TIME_ZONE": "Europe/Berlin", "CONN_MAX_AGE": 600},
    "options": {**PLAIN, "OPTIONS": {"sslmode": "verify-full", "options": "-c search_path=tenant"}},
    "native": {**PLAIN, "CONN_MAX_AGE": 0, "OPTIONS": {"sslmode": "require", "pool": {"min_size": 2, "max_size": 20}}},
    "dj_db_conn_pool": {**PLAIN, "ENGINE": "dj_db_conn_pool.backends.postgresql", "POOL_OPTIONS": {"POOL_SIZE": 9}},
    "geventpool": {
        **PLAIN,
        "ENGINE": "django_db_geventpool.backends.postgresql_psycopg3",
        "OPTIONS": {"MAX_CONNS": 20, "REUSE_CONNS": 10, "sslmode": "require"},
    },
    "postgrespool2": {**PLAIN, "ENGINE": "django_postgrespool2"},
}
POOLS_OWN = {"pool", "MAX_CONNS", "REUSE_CONNS"}


@pytest.fixture(autouse=True)
def pymysql(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """The runner's own environment does not have it."""
    module = MagicMock()
    monkeypatch.setitem(sys.modules, "pymysql", module)
    return module


def pasted(text: str, databases: dict[str, Any]) -> dict[str, Any]:
    """What a settings module comes to that has these DATABASES, and the text behind them."""
    module: dict[str, Any] = {"DATABASES": copy.deepcopy(databases)}
    exec(compile(text, "settings.py", "exec"), module)
    return module


def cell_of(way: str) -> Cell:
    database, connection = WAYS[way]
    return make_cell(database, UWSGI, connection)


def test_each_pool_and_each_driver_is_among_the_ways() -> None:
    cells = [cell_of(way) for way in WAYS]
    assert {type(cell.connection.pool) for cell in cells} == {*POOLS, type(None)}
    assert {cell.database.driver for cell in cells} == set(DRIVERS)


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("way", WAYS)
def test_pasted_behind_an_app_s_own_databases_connections_are_held_as_measured(way: str, before: str) -> None:
    """And what says nothing of that stays as it was."""
    cell, own = cell_of(way), BEFORE[before]
    found = pasted(paste_of(cell, APP).settings, {"default": own, "files": {"ENGINE": "sqlite"}})["DATABASES"]
    assert found.pop("files") == {"ENGINE": "sqlite"}
    held = holding_settings(cell.database, cell.connection)
    kept = {name: value for name, value in own.get("OPTIONS", {}).items() if name not in POOLS_OWN}
    options = {**kept, **held.pop("OPTIONS", {})}
    rest = {name: value for name, value in own.items() if name != "POOL_OPTIONS"}
    assert found == {"default": {**rest, **held, "OPTIONS": options}}


def test_what_only_reaches_the_harness_s_own_servers_is_not_pasted() -> None:
    for way in ("hosted", "encrypted"):
        assert "sslmode" not in paste_of(cell_of(way), APP).settings


def test_an_engine_that_is_built_upon_the_measured_one_is_not_forgotten() -> None:
    assert '"django.db.backends.postgresql",  # or one that is built upon it' in paste_of(cell_of("kept"), APP).settings
    assert "built upon" not in paste_of(cell_of("geventpool"), APP).settings


@pytest.mark.parametrize(
    ("connection", "told"),
    [(age(60), True), (age(None), True), (age(0), False), ({"conn_max_age": 60, "conn_health_checks": True}, False)],
)
def test_connections_that_are_kept_unchecked_come_with_what_that_means(connection: dict[str, Any], told: bool) -> None:
    """An app may have had True there."""
    text = paste_of(make_cell(POSTGRES, UWSGI, connection), APP).settings
    assert ('"CONN_HEALTH_CHECKS": False,  # as measured; True costs a query a request' in text) is told


def test_pasted_twice_it_is_the_same() -> None:
    first = pasted(paste_of(cell_of("geventpool"), APP).settings, {"default": BEFORE["native"]})["DATABASES"]
    again = pasted(paste_of(cell_of("per request"), APP).settings, first)["DATABASES"]
    assert again["default"]["OPTIONS"] == {"sslmode": "require"}
    assert pasted(paste_of(cell_of("per request"), APP).settings, again)["DATABASES"] == again


def test_a_replica_holds_its_connections_as_it_was_measured() -> None:
    """Where its OPTIONS are the very dictionary of the default one, too."""
    options = {"sslmode": "require"}
    before = {
        "default": {**PLAIN, "OPTIONS": options},
        "replica": {**PLAIN, "HOST": "other", "OPTIONS": options, "TEST": {"MIRROR": "default"}},
        "stock": {**PLAIN, "NAME": "stock"},
    }
    found = pasted(paste_of(cell_of("native"), REPLICATED).settings, before)["DATABASES"]
    for alias, host in (("default", "db"), ("replica", "other")):
        assert found[alias]["HOST"] == host
        assert found[alias]["OPTIONS"] == {
            "sslmode": "require",
            "pool": {"min_size": 2, "max_size": 4, "timeout": 5.0},
        }
    assert found["replica"]["TEST"] == {"MIRROR": "default"}
    assert found["stock"] == before["stock"]


def test_a_pool_s_further_settings_are_there() -> None:
    module = pasted(paste_of(cell_of("postgrespool2"), APP).settings, {"default": PLAIN})
    assert module["DATABASE_POOL_ARGS"]["pool_size"] == 3


def test_pymysql_stands_in_for_what_django_knows(pymysql: MagicMock) -> None:
    pasted(paste_of(cell_of("pymysql"), APP).settings, {"default": PLAIN})
    pymysql.install_as_MySQLdb.assert_called_once_with()


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("native", "Needs psycopg, psycopg-pool."),
        ("psycopg2", "Needs psycopg2-binary.\n# Without the package psycopg"),
        ("pymysql", "Needs django-db-connection-pool, pymysql."),
    ],
)
def test_the_packages_are_named(way: str, words: str) -> None:
    assert words in paste_of(cell_of(way), APP).settings


def test_behind_a_pooler_one_is_told_whose_host_and_port_they_are() -> None:
    text = paste_of(make_cell(POSTGRES, UWSGI, age(0), bouncer(pool_size=6)), APP).settings
    assert "# HOST and PORT become those of pgbouncer" in text
    assert pasted(text, {"default": PLAIN})["DATABASES"]["default"]["DISABLE_SERVER_SIDE_CURSORS"] is True
    assert "HOST" not in paste_of(cell_of("kept"), APP).settings


def test_psycogreen_comes_as_the_file_that_gunicorn_reads_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    found = paste_of(make_cell(PSYCOPG2, {**GEVENT, "psycogreen": True}, age(60)), APP)
    assert "--config" not in found.command
    assert found.command == paste_of(make_cell(PSYCOPG2, GEVENT, age(60)), APP).command
    patched = MagicMock()
    monkeypatch.setitem(sys.modules, "psycogreen", MagicMock())
    monkeypatch.setitem(sys.modules, "psycogreen.gevent", SimpleNamespace(patch_psycopg=patched))
    hooks: dict[str, Any] = {}
    exec(found.files["gunicorn.conf.py"], hooks)
    hooks["post_fork"](None, None)
    patched.assert_called_once_with()
    assert paste_of(make_cell(PSYCOPG2, GEVENT, age(60)), APP).files == {}


@pytest.mark.parametrize(
    ("server", "wanted"),
    [
        (SYNC, "gunicorn shop.wsgi:application --bind 127.0.0.1:8000 --workers 4 --worker-class sync"),
        (
            {**GTHREAD, "graceful_timeout": 9},
            (
                "gunicorn shop.wsgi:application --bind 127.0.0.1:8000 --workers 4 --worker-class gthread "
                "--graceful-timeout 9 --threads 4"
            ),
        ),
        (
            GEVENT,
            (
                "gunicorn shop.wsgi:application --bind 127.0.0.1:8000 --workers 2 --worker-class gevent "
                "--worker-connections 100"
            ),
        ),
        (UVICORN, "uvicorn shop.asgi:application --host 127.0.0.1 --port 8000 --workers 2 --lifespan off"),
        (RUNSERVER, "python manage.py runserver --noreload 127.0.0.1:8000"),
        ({"kind": "daphne"}, "daphne --bind 127.0.0.1 --port 8000 shop.asgi:application"),
        (
            {"kind": "granian", "interface": "wsgi", "workers": 2, "blocking_threads": 4},
            (
                "granian --interface wsgi --host 127.0.0.1 --port 8000 --workers 2 --blocking-threads 4 "
                "shop.wsgi:application"
            ),
        ),
        ({"kind": "mod_wsgi", "processes": 2, "threads": 3}, "WSGIDaemonProcess app processes=2 threads=3"),
    ],
)
def test_the_command_line_is_what_was_measured_without_the_measuring(server: dict[str, Any], wanted: str) -> None:
    assert paste_of(make_cell(POSTGRES, server, age(60)), APP).command == wanted


@pytest.mark.parametrize("server", [UWSGI, UWSGI_GEVENT])
def test_uwsgi_keeps_what_bears_on_its_connections(server: dict[str, Any]) -> None:
    words = shlex.split(paste_of(make_cell(MYSQL, server, age(60)), APP).command)
    assert words[:4] == ["uwsgi", "--master", "--http-socket", "127.0.0.1:8000"]
    assert {"--processes", "--lazy-apps", "--listen"} <= set(words)
    assert not {"--home", "--req-logger", "--log-format"} & set(words)


#: Each of them, and none at its default.
BOUNCER = bouncer(
    pool_size=6,
    min_pool_size=2,
    reserve_pool_size=1,
    reserve_pool_timeout="3s",
    max_client_conn=50,
    query_wait_timeout="30s",
    server_idle_timeout="60m",
    settings={"server_lifetime": 60, "tcp_keepalive": True, "server_round_robin": False, "dns_max_ttl": 1.5},
)


def test_a_pooler_s_section_has_its_own_spelling() -> None:
    text = paste_of(make_cell(POSTGRES, UWSGI, age(0), BOUNCER), APP).pooler
    assert text.splitlines() == [
        "; PgBouncer, one on each host: in its section [pgbouncer]",
        "pool_mode = transaction",
        "default_pool_size = 6",
        "min_pool_size = 2",
        "reserve_pool_size = 1",
        "reserve_pool_timeout = 3",
        "max_client_conn = 50",
        "query_wait_timeout = 30",
        "server_idle_timeout = 3600",
        "server_lifetime = 60",
        "tcp_keepalive = 1",
        "server_round_robin = 0",
        "dns_max_ttl = 1.5",
    ]
    assert paste_of(make_cell(POSTGRES, UWSGI, age(0)), APP).pooler == ""


def test_what_the_matrix_does_not_say_is_not_pasted() -> None:
    text = paste_of(make_cell(POSTGRES, UWSGI, age(0), bouncer("session")), APP).pooler
    assert text.splitlines()[1:] == ["pool_mode = session"]


def test_the_runner_s_own_pooler_has_the_same_lines() -> None:
    """But for the client that the harness is itself."""
    cell = make_cell(POSTGRES, UWSGI, age(0), BOUNCER)
    assert isinstance(cell.pooler, PgBouncerSpec)
    pooler = PgBouncer(cell.pooler)
    pooler._account, pooler._users = Account("shop", "shop", "secret"), Path("users.txt")
    own = pooler._configuration(Address("127.0.0.1", 6432), Address("127.0.0.1", 5432), tls=False).splitlines()
    told = paste_of(cell, APP).pooler.splitlines()[1:]
    assert set(told) - set(own) == {"max_client_conn = 50"}
    assert "max_client_conn = 51" in own
