"""What an app's own connections are on a real server: encrypted or not, and closed when they are idle for too long."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from runner import waiting
from runner.provision.commands import run_command
from runner.provision.native import NativeProvider
from runner.provision.service import Command
from runner.stacks.app import Process, django_database, load_app, make_overlay
from runner.stacks.connection import ConnectionSpec
from runner.stacks.databases import AnyDatabaseSpec, make_database
from runner.stacks.databases.base import Account, Database
from runner.stacks.environment import build_environment
from runner.stacks.packages import environment_with
from runner.stacks.versions import Recipe

pytestmark = pytest.mark.server

THREADS = 3
# Each thread opens a connection, and holds it until all have one.
PROGRAM = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
import django
django.setup()
from django.db import connection
count = int(sys.argv[3])
together = Barrier(count, timeout=30)

def ask(_):
    with connection.cursor() as cursor:
        cursor.execute(sys.argv[1])
        answer = cursor.fetchone()
        together.wait()
        time.sleep(float(sys.argv[2]))
        try:
            cursor.execute("SELECT 1")
            return [answer, cursor.fetchone()]
        except django.db.OperationalError as error:
            return [answer, str(error)]

with ThreadPoolExecutor(count) as threads:
    print(json.dumps(list(threads.map(ask, range(count)))))
"""

IS_ENCRYPTED = {
    "postgres": "SELECT CASE WHEN ssl THEN version ELSE '' END FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    "mysql": "SELECT variable_value FROM information_schema.session_status WHERE variable_name = 'SSL_CIPHER'",
}


@contextmanager
def started(folder: Path, **spec: Any) -> Iterator[Database]:
    provider = NativeProvider()
    try:
        database = make_database(TypeAdapter(AnyDatabaseSpec).validate_python(spec))
        database.start(provider, "server", folder)
        yield database
        database.close()
    finally:
        provider.close()


def ask_from_the_app(database: Database, account: Account, query: str, pause: float = 0.0) -> list[Any]:
    """Each thread's answer to `query`, and what a query gets `pause` seconds later."""
    connection, shop = ConnectionSpec(), load_app("shop")
    settings = django_database(database.spec, connection, account, database.service.address)
    overlay = make_overlay(shop, settings, "127.0.0.1", process=Process.of(database.spec, connection))
    environment = environment_with(database.spec.packages)
    assert environment is not None
    python = str(build_environment(Recipe(environment)).bin / "python")
    command = Command([python, "-c", PROGRAM, query, str(pause), str(THREADS)], overlay.env, shop.folder)
    answers: list[Any] = json.loads(run_command(command, limit=400, what="the app's own connections"))
    return answers


@pytest.mark.parametrize(
    ("engine", "driver", "tls"),
    [
        ("postgres", "psycopg", False),
        ("postgres", "psycopg", True),
        ("mysql", "mysqlclient", False),
        ("mysql", "mysqlclient", True),
        ("mysql", "pymysql", True),
    ],
)
def test_tls_is_on_where_it_is_asked_for(engine: str, driver: str, tls: bool, tmp_path: Path) -> None:
    """The server itself says so, and the count of connections from their packets is the same."""
    with started(tmp_path, engine=engine, driver=driver, tls=tls) as database:
        query = IS_ENCRYPTED[engine]
        if database.product.startswith("MySQL"):
            query = query.replace("information_schema", "performance_schema")
        account = database.create_empty("app")
        mark = database.mark_peak(account)
        answers = ask_from_the_app(database, account, query)
        peak = database.read_peak(mark)
        assert {bool(answer[0]) for answer, _ in answers} == {tls}, answers
        assert [later for _, later in answers] == [[1]] * THREADS
        assert peak.connections == THREADS or peak.doubt
        assert database.books(account).opened == THREADS


@pytest.mark.parametrize(
    ("engine", "settings"), [("postgres", {"idle_session_timeout": "1s"}), ("mysql", {"wait_timeout": 1})]
)
def test_idle_connections_are_closed_but_not_the_harness_own(
    engine: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    with started(tmp_path, engine=engine, settings=settings) as database:
        assert database.spec.idle_limit == 1
        account = database.create_empty("app")
        answers = ask_from_the_app(database, account, "SELECT 7", pause=3)
        assert [first for first, _ in answers] == [[7]] * THREADS
        assert all(isinstance(later, str) for _, later in answers), "a query on a closed connection fails"
        time.sleep(1.5)
        gone = waiting.wait_for(lambda: database.books(account).current == 0 or None, limit=30)
        assert gone
        assert database.books(account).opened == THREADS
