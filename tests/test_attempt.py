"""What an attempt does by itself; its whole life on real servers is in test_end_to_end.py."""

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from runner import probe, serving
from runner.attempt import Attempt
from runner.errors import ConnbenchError, Interrupted, PortLost, StackError
from runner.plan import PlannedAttempt
from runner.provision.native import NativeProvider
from runner.provision.service import Address
from runner.results.store import RunFolder
from runner.stacks.app import load_app
from runner.stacks.databases.base import Account
from runner.stacks.environment import build_environment
from runner.stacks.versions import Recipe
from tests.matrix.examples import POSTGRES, SYNC, UWSGI, age, make_cell
from tests.shops import seeded
from tests.test_probe import SmallServer

if TYPE_CHECKING:
    from runner.attempt import Stage

ACCOUNT = Account("b1_cell", "user", "secret")


@pytest.fixture
def provider() -> Iterator[NativeProvider]:
    with closing(NativeProvider()) as made:
        yield made


def make_attempt(provider: NativeProvider | None, out: Path, server: dict[str, Any], **stage: Any) -> Attempt:
    database = SimpleNamespace(service=SimpleNamespace(address=Address("127.0.0.1", 1)))
    parts = {
        "provider": provider,
        "folder": RunFolder(out),
        "app": load_app("shop"),
        "prepared": SimpleNamespace(memory_bytes=0, database=database, address=Address("127.0.0.1", 1), distance=None),
        "stopping": threading.Event(),
        "seed": "1",
        **stage,
    }
    planned = PlannedAttempt(1, "pg", "cell", 1, 1)
    return Attempt(make_cell(POSTGRES, server, age(0)), planned, "pg", cast("Stage", SimpleNamespace(**parts)))


@pytest.fixture
def stranger() -> Iterator[Address]:
    """A web server that is none of ours."""
    server = SmallServer(SimpleNamespace(answer=lambda _: (200, "ok", {})))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield Address("127.0.0.1", server.server_address[1])
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.server
@pytest.mark.parametrize("server", [SYNC, UWSGI], ids=["gunicorn", "uwsgi"])
def test_a_port_that_is_lost_is_given_up_for_another(
    provider: NativeProvider,
    stranger: Address,
    server: dict[str, Any],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever has it may answer long before the server has found out that it cannot have it."""
    database = seeded(tmp_path_factory.getbasetemp())
    monkeypatch.setattr(serving, "django_database", lambda *_: database)
    free = provider.free_address()
    choices = [free, stranger]
    monkeypatch.setattr(provider, "free_address", lambda _host: choices.pop())
    recipe = Recipe("psycopg3")
    attempt = make_attempt(provider, tmp_path, server, environments={recipe: build_environment(recipe)})
    attempt.app.start(ACCOUNT)
    assert attempt.app.server.address == free
    assert len(provider._services) == 1, "the first one is stopped"
    attempt.down()
    assert provider._services == []


def test_an_app_without_asgi_entry_is_told_so(tmp_path: Path) -> None:
    shop = load_app("shop")
    description = shop.description.model_copy(update={"asgi": ""})
    attempt = make_attempt(None, tmp_path, {"kind": "daphne"}, app=replace(shop, description=description))
    with pytest.raises(StackError, match=r"daphne speaks ASGI, and \S*apps/shop/app\.yaml names no `asgi:` entry"):
        attempt.app._launch(ACCOUNT)


def test_three_lost_ports_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[object] = []
    attempt = make_attempt(cast("NativeProvider", SimpleNamespace(stop=stopped.append)), tmp_path, SYNC)
    services = [SimpleNamespace(log_tail=lambda _: "") for _ in range(4)]
    left = list(services)
    monkeypatch.setattr(attempt.app, "_launch", lambda _: (left.pop(0), "token"))

    def wait(*_: object) -> None:
        raise PortLost("somebody else answers")

    monkeypatch.setattr(probe, "wait_until_ready", wait)
    with pytest.raises(StackError, match="somebody else answers"):
        attempt.app.start(ACCOUNT)
    assert stopped == services[:3]


def test_the_first_failure_is_the_one_that_counts(tmp_path: Path) -> None:
    attempt = make_attempt(None, tmp_path, SYNC)
    assert attempt.standing
    for error in (StackError("out of memory"), Interrupted("stopped")):
        attempt.fail(error)
    assert not attempt.standing
    record = attempt.record()
    assert (record.verdict.status, record.verdict.reason) == ("failed", "out of memory")


def test_an_attempt_that_never_came_up_can_be_taken_down_and_leaves_its_record(tmp_path: Path) -> None:
    attempt = make_attempt(None, tmp_path, SYNC)
    attempt.fail(ConnbenchError("no database"))
    attempt.down()
    attempt.record()
    attempt.commit()
    ((folder, record),) = RunFolder(tmp_path).attempts()
    assert folder == tmp_path / "cells" / "cell" / "b1-a1"
    assert [phase.name for phase in record.phases] == ["down"]
    assert record.verdict.reason == "no database"


def test_a_relay_that_ended_fails_the_attempt(tmp_path: Path) -> None:
    attempt = make_attempt(None, tmp_path, SYNC)
    attempt._check_distance()
    relay = SimpleNamespace(alive=lambda: True, log_tail=lambda: "its last words")
    cast("Any", attempt.stage.prepared).distance = SimpleNamespace(relay=relay)
    attempt._check_distance()
    relay.alive = lambda: False
    with pytest.raises(StackError, match="the relay to the database ended under load; its log ends:\nits last words"):
        attempt._check_distance()


def test_probes_are_left_out_of_the_log(tmp_path: Path) -> None:
    app = make_attempt(None, tmp_path, SYNC).app
    assert app.logged_requests() == 0
    log = "200 /products/?page=3\n200 /health/?connbench-probe\n500 /orders/?\n"
    (app._logs / "access.log").write_text(log)
    assert app.logged_requests() == 2
