"""What an app says of a request's time, on real servers and databases: the parts, and who opened a connection."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests
from pydantic import TypeAdapter

from runner.load.recorder import NO_COUNT, NO_TIMING, server_timing
from runner.preparation import Prepared, prepare_database
from runner.provision.native import NativeProvider
from runner.stacks.app import Process, Timing, django_database, load_app
from runner.stacks.connection import ConnectionSpec
from runner.stacks.databases import AnyDatabaseSpec, DatabaseSpec
from runner.stacks.databases.base import Account
from runner.stacks.environment import build_environment
from runner.stacks.packages import environment_with
from runner.stacks.servers.base import ServerSpec
from runner.stacks.servers.gunicorn import GunicornSpec
from runner.stacks.versions import Recipe
from tests.shops import Served, serving

pytestmark = [pytest.mark.server, pytest.mark.alone]

PAGE, ORDER, HOLD = "/products/4217/", "/orders/", "/hold/?ms=100"
BASKET = {"customer": 1, "lines": [{"product": 3, "quantity": 1}]}
SYNC = GunicornSpec(workers=1)
GTHREAD = GunicornSpec(worker_class="gthread", workers=1, threads=4)
GEVENT = GunicornSpec(worker_class="gevent", workers=1)
_numbers = count(1)


@dataclass(frozen=True)
class Spent:
    """A request's milliseconds as its header has them."""

    app: float
    pool: float
    connect: float
    sql: float
    opened: int


def spent(answer: requests.Response) -> Spent:
    assert answer.status_code in (200, 201), answer.text
    _, _, app, pool, connect, sql, opened = server_timing(answer.headers["Server-Timing"])
    found = Spent(app, pool, connect, sql, opened)
    assert found.pool + found.connect + found.sql <= found.app + 0.002, "each is rounded"
    return found


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    with started("postgres", "psycopg", tmp_path_factory.mktemp("postgres")) as prepared:
        yield prepared


@contextmanager
def started(engine: str, driver: str, folder: Path) -> Iterator[Prepared]:
    """A database server with the shop in it."""
    values = {"engine": engine, "driver": driver} if engine == "postgres" else {"engine": engine}
    spec: Any = TypeAdapter(AnyDatabaseSpec).validate_python(values)
    with ExitStack() as closing:
        provider = NativeProvider()
        closing.callback(provider.close)
        environment = build_environment(Recipe(driver_environment(spec)))
        yield prepare_database("db", spec, load_app("shop"), [environment], provider, folder, 1.0, closing)


def driver_environment(spec: DatabaseSpec) -> str:
    found = environment_with(spec.packages)
    assert found is not None
    return found


@contextmanager
def shop(
    prepared: Prepared, folder: Path, server: ServerSpec = SYNC, timing: Timing = "full", **connection: Any
) -> Iterator[tuple[Served, Account]]:
    database = prepared.database
    account = database.create_from_template(f"timing_{next(_numbers)}", prepared.templates[()].account)
    spec = ConnectionSpec.model_validate(connection)
    settings = django_database(database.spec, spec, account, database.service.address)
    process = Process.of(database.spec, spec)
    with serving(server, settings, folder, driver_environment(database.spec), timing, process) as served:
        yield served, account


@pytest.mark.parametrize(
    ("engine", "driver"), [("postgres", "psycopg"), ("postgres", "psycopg2"), ("mysql", "mysqlclient")]
)
def test_every_driver_is_seen(engine: str, driver: str, tmp_path: Path) -> None:
    """A connection for each request, then the one that stays, with a look whether it still works."""
    with started(engine, driver, tmp_path) as prepared:
        with shop(prepared, tmp_path) as (served, _):
            for timed in [spent(served.get(PAGE)) for _ in range(5)]:
                assert timed.opened == 1
                assert timed.connect > 0.2
                assert timed.sql > 0.1
                assert timed.pool == 0
            still = spent(served.get("/health/"))
            assert replace(still, app=0.0) == Spent(0, 0, 0, 0, opened=0)
        with shop(prepared, tmp_path, conn_max_age=None, conn_health_checks=True) as (served, _):
            first, *later = [spent(served.get(HOLD)) for _ in range(4)]
            assert first.opened == 1
            for timed in later:
                assert (timed.opened, timed.connect, timed.pool) == (0, 0, 0)
                assert 100 <= timed.sql < timed.app


@pytest.mark.parametrize("server", [SYNC, GTHREAD, GEVENT], ids=["sync", "gthread", "gevent"])
def test_requests_open_what_the_database_counts(prepared: Prepared, server: ServerSpec, tmp_path: Path) -> None:
    """Contexts of one process, many at once: nothing is counted twice or put down to another."""
    with shop(prepared, tmp_path, server) as (served, account):
        with ThreadPoolExecutor(8) as clients:
            pages = list(clients.map(lambda _: spent(served.get(PAGE)), range(200)))
            held = list(clients.map(lambda _: spent(served.get(HOLD)), range(16)))
        assert {timed.opened for timed in (*pages, *held)} == {1}
        assert all(timed.connect > 0 for timed in (*pages, *held))
        assert 100 <= min(timed.sql for timed in held) < 200
    assert prepared.database.books(account).opened == sum(timed.opened for timed in (*pages, *held))


def test_kept_connections_are_opened_once(prepared: Prepared, tmp_path: Path) -> None:
    with shop(prepared, tmp_path, conn_max_age=60) as (served, account):
        opened = [spent(served.get(PAGE)).opened for _ in range(20)]
    assert opened == [1] + [0] * 19
    assert prepared.database.books(account).opened == 1


def test_waiting_for_a_pool_that_is_too_small(prepared: Prepared, tmp_path: Path) -> None:
    """Four threads, one connection, a tenth of a second each: the last waits for the three before it."""
    pool = {"kind": "native", "min_size": 1, "max_size": 1}
    with shop(prepared, tmp_path, GTHREAD, pool=pool) as (served, _):
        alone = min((spent(served.get(HOLD)) for _ in range(5)), key=lambda timed: timed.pool)
        assert alone.pool < 20
        with ThreadPoolExecutor(4) as clients:
            together = list(clients.map(lambda _: spent(served.get(HOLD)), range(16)))
    assert all((timed.opened, timed.connect) == (0, 0) for timed in (alone, *together))
    waits = sorted(timed.pool for timed in together)
    assert 150 < waits[len(waits) // 2] < 1000
    assert 100 <= min(timed.sql for timed in together) < 200


def test_a_commit_is_sql(prepared: Prepared, tmp_path: Path) -> None:
    with shop(prepared, tmp_path, conn_max_age=60) as (served, _):
        url = f"http://{served.service.address}{ORDER}"
        orders = [spent(requests.post(url, json=BASKET, timeout=60)) for _ in range(5)]
    assert all(timed.sql > 0.5 for timed in orders[1:])


@pytest.mark.parametrize("timing", ["app", "off"])
def test_less_is_said_where_less_is_asked(prepared: Prepared, timing: Timing, tmp_path: Path) -> None:
    with shop(prepared, tmp_path, timing=timing) as (served, _):
        header = served.get(PAGE).headers["Server-Timing"]
    app = r"app;dur=\d+\.\d{3}, " if timing == "app" else ""
    assert re.fullmatch(rf"{app}worker;desc=\d+\.\d+", header)
    _, _, app_ms, *parts = server_timing(header)
    assert (app_ms > 0) == (timing == "app")
    assert parts == [NO_TIMING, NO_TIMING, NO_TIMING, NO_COUNT]
