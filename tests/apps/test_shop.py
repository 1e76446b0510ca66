"""The shop's own tests, run as its README says, on SQLite and on real servers."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from runner.provision.native import NativeProvider
from runner.stacks.app import django_database, load_app, make_overlay
from runner.stacks.connection import ConnectionSpec
from runner.stacks.databases import AnyDatabaseSpec, make_database
from runner.stacks.databases.base import Account, Database
from tests.shops import manage

pytestmark = pytest.mark.server


def outcome(output: str) -> tuple[int, int]:
    """How many tests ran, and how many of them were skipped."""
    assert re.search(r"^OK\b", output, re.MULTILINE), output
    ran = re.search(r"^Ran (\d+) tests", output, re.MULTILINE)
    skipped = re.search(r"skipped=(\d+)", output)
    assert ran is not None, output
    return int(ran[1]), int(skipped[1]) if skipped else 0


def test_on_sqlite() -> None:
    """Without a warning. Only the test of row locks is skipped: SQLite has none."""
    ran, skipped = outcome(manage("test", warnings="error"))
    assert ran > 40
    assert skipped == 1


@pytest.fixture(params=["postgres", "mysql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with closing(NativeProvider()) as provider:
        made = make_database(TypeAdapter(AnyDatabaseSpec).validate_python({"engine": request.param}))
        made.start(provider, "server", tmp_path)
        with closing(made):
            yield made


def allow_test_databases(database: Database, account: Account) -> None:
    """An account owns its database alone; Django's test runner makes another."""
    admin: Any = database._admin  # type: ignore[attr-defined]
    if database.spec.engine == "postgres":
        admin.execute(f'ALTER ROLE "{account.user}" CREATEDB')
    else:
        admin.cursor().execute(f"GRANT ALL ON `test_{account.database}`.* TO '{account.user}'@'%'")


def test_on_a_real_server(database: Database) -> None:
    """Here many orders at once are tried too."""
    account = database.create_empty("shop")
    allow_test_databases(database, account)
    settings = django_database(database.spec, ConnectionSpec(), account, database.service.address)
    env = make_overlay(load_app("shop"), settings, database.service.address.host).env
    _, skipped = outcome(manage("test", "--no-input", env=env, warnings="error"))
    assert skipped == 0
