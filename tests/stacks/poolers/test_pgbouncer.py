"""A PgBouncer of our own in front of a real server, with clients in this process."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner import waiting
from runner.errors import EnvironmentUnfit, StackError
from runner.pooled import PooledSide
from runner.provision.native import NativeProvider
from runner.sampling.pooler import PoolerSampler, pooler_frame
from runner.stacks.databases.base import Account, Database
from runner.stacks.databases.postgres import Postgres, PostgresSpec
from runner.stacks.poolers import make_pooler
from runner.stacks.poolers.base import Pooler
from runner.stacks.poolers.pgbouncer import ClientLog, PgBouncer, PgBouncerSpec, find_program
from tests.evidences import evidence
from tests.matrix.examples import POSTGRES, SYNC, age, bouncer, make_cell
from tests.stacks.databases.clients import ask, connect


def spec(**settings: Any) -> PgBouncerSpec:
    return PgBouncerSpec.model_validate({"kind": "pgbouncer", **settings})


def line(port: int, text: str, database: str = "shop") -> str:
    return f"2026-11-21 22:53:31.676 UTC [25228] LOG C-0x558af8a1e740: {database}/u@127.0.0.1:{port} {text}\n"


def test_the_log_tells_who_came_and_went(tmp_path: Path) -> None:
    path = tmp_path / "log"
    login = "login attempt: db=shop user=u tls=no"
    path.write_text(
        "2026-11-21 22:53:31.168 UTC [25228] LOG process up: PgBouncer 1.18.0\n"
        + line(41_000, login)
        + line(41_001, login)
        + line(41_002, "login attempt: db=pgbouncer user=connbench tls=no", database="pgbouncer")
        + line(41_000, "closing because: client close request (age=0s)")
        + line(41_000, login)
        + line(41_003, "closing because: no more connections allowed (max_client_conn) (age=0s)", "(nodb)")
        + line(41_003, "pooler error: no more connections allowed (max_client_conn)", "(nodb)")
        + "2026-11-21 22:53:31 UTC [1] LOG S-0x558af8a2a0d0: shop/u@127.0.0.1:1 closing because: connect failed\n"
        + line(41_009, login).rstrip("\n")
    )
    log = ClientLog(path, "shop")
    log.read()
    assert (log.tally.opened, log.tally.refused) == (3, 1)
    assert log.tally.changes == [1, 1, -1, 1]
    assert sorted(log.tally.live) == [41_000, 41_001]
    with path.open("a") as file:
        file.write("\n")
    log.read()
    assert log.tally.opened == 4, "a line counts once it is whole"


def test_without_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(EnvironmentUnfit, match=r"PgBouncer is not installed .*apt-get install pgbouncer"):
        find_program()


@pytest.fixture(scope="module")
def provider() -> Iterator[NativeProvider]:
    with closing(NativeProvider()) as made:
        yield made


@pytest.fixture(scope="module")
def database(provider: NativeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(PostgresSpec())
    server.start(provider, "database", tmp_path_factory.mktemp("logs"))
    with closing(server):
        yield server


@contextmanager
def pooled(
    database: Database, provider: NativeProvider, folder: Path, **settings: Any
) -> Iterator[tuple[Pooler, Account]]:
    account = database.create_empty(f"account_{folder.name}"[-30:].replace("-", "_"))
    pooler = make_pooler(spec(**settings))
    pooler.start(provider, account, database.spec, database.service.address, folder)
    with closing(pooler):
        yield pooler, account
    provider.stop(pooler.service)


def client(pooler: Pooler, account: Account) -> Any:
    return connect("postgres", pooler.service.address, account)


@pytest.mark.server
def test_both_sides_counted(database: Postgres, provider: NativeProvider, tmp_path: Path) -> None:
    with pooled(database, provider, tmp_path, pool_mode="transaction", pool_size=2) as (pooler, account):
        assert pooler.product.startswith("PgBouncer ")
        early = client(pooler, account)
        pooler.mark_peak()
        with ExitStack() as stack:
            for _ in range(5):
                session = stack.enter_context(closing(client(pooler, account)))
                assert ask(session, "SELECT 1") == [(1,)]
            during = pooler.books()
            assert (during.opened, during.refused, during.current) == (6, 0, 6)
            assert pooler.look().clients_active == 6
        early.close()
        for _ in range(4):
            client(pooler, account).close()
        peak = pooler.read_peak()
        assert (peak.connections, peak.doubt) == (6, "")
        after = pooler.books()
        assert (after.opened, after.current) == (10, 0)
        behind = database.books(account)
        assert 1 <= behind.opened <= 2
        assert behind.current == behind.opened, "it keeps what it has"


@pytest.mark.server
def test_who_finds_no_room_is_counted(database: Postgres, provider: NativeProvider, tmp_path: Path) -> None:
    with pooled(database, provider, tmp_path, max_client_conn=2) as (pooler, account), ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(closing(client(pooler, account)))
        for _ in range(3):
            with pytest.raises(psycopg.OperationalError, match="no more connections allowed"):
                client(pooler, account)
        books = pooler.books()
        assert (books.opened, books.refused, books.current) == (2, 3, 2)


@pytest.mark.server
def test_who_waits_is_seen(database: Postgres, provider: NativeProvider, tmp_path: Path) -> None:
    further = {"tcp_keepalive": True, "server_round_robin": False, "dns_max_ttl": 1.5}
    settings = {"pool_mode": "session", "pool_size": 1, "query_wait_timeout": "1s", "settings": further}
    with pooled(database, provider, tmp_path, **settings) as (pooler, account):
        sampler = PoolerSampler(pooler, 50)
        with closing(sampler), closing(client(pooler, account)) as holder:
            ask(holder, "SELECT 1")
            began = time.monotonic()
            sampler.focus()
            with (
                pytest.raises(psycopg.OperationalError, match="query_wait_timeout"),
                closing(client(pooler, account)) as other,
            ):
                ask(other, "SELECT 1")
        looks = pooler_frame(sampler.rows(), began)
        assert looks["clients_waiting"].max() == 1
        assert looks["servers_active"].max() == 1
        assert looks["longest_wait"].max() > 0


@pytest.mark.server
def test_a_pooler_that_dies_says_so(database: Postgres, provider: NativeProvider, tmp_path: Path) -> None:
    with pooled(database, provider, tmp_path) as (pooler, account):
        client(pooler, account).close()
        sampler = PoolerSampler(pooler, 50)
        with closing(sampler):
            sampler.focus()
            assert waiting.wait_for(lambda: sampler.rows() or None, 30)
            pooler.service.signal(signal.SIGKILL)
            assert waiting.wait_for(lambda: not pooler.service.alive() or None, 30)
            with pytest.raises(StackError, match="the pooler's console does not answer"):
                pooler.look()


@pytest.mark.server
def test_an_attempt_whose_pooler_dies_fails_for_that_reason(
    database: Postgres, provider: NativeProvider, tmp_path: Path
) -> None:
    seen = evidence(cell=make_cell(POSTGRES, SYNC, age(0), bouncer()))
    account = database.create_empty("orphaned")
    side = PooledSide(seen)
    side.start(provider, account, database.service.address, tmp_path, looks_per_second=50)
    assert side.address is not None
    try:
        connect("postgres", side.address, account).close()
        with pytest.raises(StackError, match=r"the pooler ended under load; (?s:.*)process up: PgBouncer"):
            _kill_while_watching(side)
    finally:
        side.stop(provider)
    assert seen.pooler_rows, "what was seen until then is kept"


def _kill_while_watching(side: PooledSide) -> None:
    service = side.services()["pooler"]
    with side.watching():
        time.sleep(0.2)
        service.signal(signal.SIGKILL)
        assert waiting.wait_for(lambda: not service.alive() or None, 30)


@pytest.mark.server
def test_a_wrong_setting_is_told_with_the_log(database: Postgres, provider: NativeProvider, tmp_path: Path) -> None:
    with (
        pytest.raises(StackError, match="no_such_setting"),
        pooled(database, provider, tmp_path, settings={"no_such_setting": 1}),
    ):
        pass
    assert PgBouncer.installed().startswith("PgBouncer ")
