"""A PostgreSQL server that is there already, seen by an account that is no superuser, as a cloud's is."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest
from pydantic import ValidationError

from runner.asking import asking
from runner.errors import DatabaseLost, EnvironmentUnfit, StackError
from runner.provision.native import NativeProvider
from runner.stacks.databases import hosted_home, make_database
from runner.stacks.databases.base import Account
from runner.stacks.databases.hosted import HostedPostgres
from runner.stacks.databases.hosted_home import clean
from runner.stacks.databases.hosted_place import MARK, read_place, refuse_unfit
from runner.stacks.databases.mysql import MySQLSpec
from runner.stacks.databases.postgres import PostgresSpec
from runner.stacks.databases.postgres_monitor import PostgresMonitor
from runner.waiting import wait_for
from tests.stacks.databases.clients import connect, session
from tests.stacks.databases.lab import PASSWORD, VARIABLE, Lab, somebodys_server

LIMIT = 30
SPEC = PostgresSpec(url_from=VARIABLE, max_connections=LIMIT)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with somebodys_server(tmp_path_factory.mktemp("lab"), LIMIT, tls=True) as lab:
        lab.add_account("maker", "CREATEDB")
        lab.add_account("reader", "")
        lab.do("CREATE DATABASE own OWNER reader")
        lab.do("CREATE DATABASE theirs OWNER guest")
        lab.do("CREATE TABLE orders (id int)", "theirs")
        lab.do("GRANT CREATE ON DATABASE lab TO maker")
        yield lab


@pytest.fixture(autouse=True)
def _url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "lab" in request.fixturenames:
        monkeypatch.setenv(VARIABLE, request.getfixturevalue("lab").url())


@pytest.fixture
def provider() -> Iterator[NativeProvider]:
    with closing(NativeProvider()) as provider:
        yield provider


@pytest.fixture
def database(lab: Lab, provider: NativeProvider, tmp_path: Path) -> Iterator[HostedPostgres]:
    with closing(started(provider, tmp_path)) as database:
        yield database
    assert lab.made == []


def started(provider: NativeProvider, folder: Path, spec: PostgresSpec = SPEC, name: str = "prod") -> HostedPostgres:
    database = make_database(spec)
    assert isinstance(database, HostedPostgres)
    database.start(provider, name, folder)
    return database


# --- where it is ---


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "PROD_LIKE_URL names no host: set it to postgresql://"),
        ("postgresql://u:secret@db.example/", "names no dbname"),
        ("postgresql://u@db.example/lab", "names no password"),
        ("postgresql://u:sec ret@db.example/lab?nonsense=1", "is no PostgreSQL URL"),
        ("postgresql://u:secret@db.example:port:5/lab", "one host and one port"),
        ("postgresql://u:secret@one.example,two.example/lab", "one host and one port"),
        ("postgresql://u:secret@/lab?host=/var/run", "one host and one port"),
        ("postgresql://u:secret@db.example/lab?sslmode=require", "and the matrix has none: write tls: true"),
    ],
)
def test_a_url_that_cannot_be(monkeypatch: pytest.MonkeyPatch, value: str, words: str) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(EnvironmentUnfit, match=words) as refusal:
        read_place(SPEC)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("query", "tls", "mode"),
    [("", False, "disable"), ("", True, "require"), ("?sslmode=verify-full", True, "verify-full")],
)
def test_a_url_says_where_and_how(monkeypatch: pytest.MonkeyPatch, query: str, tls: bool, mode: str) -> None:
    monkeypatch.setenv(VARIABLE, f"postgres://u:p%40@db.example/lab{query}")
    place = read_place(SPEC.model_copy(update={"tls": tls}))
    assert str(place.address) == "db.example:5432"
    way_in = place.way_in
    assert (way_in.user, way_in.password, way_in.home, way_in.sslmode) == ("u", "p@", "lab", mode)
    assert "p@" not in repr(place)


def test_settings_are_for_a_server_of_ones_own() -> None:
    with pytest.raises(ValidationError, match="`settings` are put on a server that is started"):
        PostgresSpec(url_from=VARIABLE, settings={"jit": "on"})


def test_the_mysql_family_is_refused_in_words() -> None:
    with pytest.raises(
        ValidationError, match="`url_from` is for PostgreSQL alone: MySQL and MariaDB count by user only"
    ):
        MySQLSpec.model_validate({"engine": "mysql", "url_from": VARIABLE})


def test_the_app_is_encrypted_if_the_matrix_says_so_and_not_by_chance() -> None:
    assert SPEC.django_options == {"sslmode": "disable"}
    assert SPEC.model_copy(update={"tls": True}).django_options == {"sslmode": "require"}


# --- what is refused ---


@pytest.mark.server
def test_what_is_somebody_elses_is_not_touched(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, provider: NativeProvider, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, lab.url("theirs"))
    for refused in (lambda: refuse_unfit(SPEC), lambda: started(provider, tmp_path)):
        with pytest.raises(
            EnvironmentUnfit, match=r"theirs at PROD_LIKE_URL is not empty \(public.orders\) and has no"
        ):
            refused()
    assert lab.do("SELECT nspname FROM pg_namespace WHERE nspname = 'connbench'", "theirs") == []
    lab.do(f"COMMENT ON DATABASE theirs IS '{MARK}'")
    with closing(started(provider, tmp_path)) as marked:
        marked.drop(marked.create_empty("one"))
    lab.do("COMMENT ON DATABASE theirs IS NULL")
    assert lab.do("SELECT count(*) FROM orders", "theirs") == [(0,)]


@pytest.mark.server
def test_an_account_that_owns_one_database_and_no_more(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, lab.url("own", "reader"))
    with pytest.raises(
        EnvironmentUnfit, match=r"reader may make no databases, and each .*: ALTER ROLE reader CREATEDB"
    ):
        refuse_unfit(SPEC)
    monkeypatch.setenv(VARIABLE, lab.url("postgres", "maker"))
    with pytest.raises(EnvironmentUnfit, match=r"maker may make no schema in postgres, .*: GRANT CREATE ON DATABASE"):
        refuse_unfit(SPEC)


@pytest.mark.server
def test_a_password_that_is_wrong_is_not_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, lab.url().replace("%C3%A9", "secret"))
    with pytest.raises(
        EnvironmentUnfit, match=r"PROD_LIKE_URL: no session on that server: .*authentication failed"
    ) as told:
        refuse_unfit(SPEC)
    assert "secret" not in str(told.value)
    monkeypatch.setenv(VARIABLE, lab.url().replace(str(lab.server.service.address.port), "1"))
    with pytest.raises(EnvironmentUnfit, match=r"no session on that server: .*[Cc]onnection refused"):
        refuse_unfit(SPEC)


@pytest.mark.server
def test_the_limit_is_the_servers(lab: Lab) -> None:
    with pytest.raises(EnvironmentUnfit, match=f"lets in {LIMIT} connections, and the matrix says 100: write max_conn"):
        refuse_unfit(PostgresSpec(url_from=VARIABLE, max_connections=100))


@pytest.mark.server
def test_a_server_that_is_full(lab: Lab) -> None:
    with ExitStack() as others:
        theirs = Account("theirs", "guest", PASSWORD)
        # Three are reserved, and the lab's own watch has one.
        for _ in range(LIMIT - 3 - 1 - 1):
            others.enter_context(closing(session(lab.server, theirs)))
        with pytest.raises(
            EnvironmentUnfit, match=f"is full: of {LIMIT} connections 3 are reserved and {LIMIT - 5} taken"
        ):
            refuse_unfit(SPEC)
        others.enter_context(closing(session(lab.server, theirs)))
        with pytest.raises(
            EnvironmentUnfit, match=r"no session on that server: .*remaining connection slots are reserved"
        ):
            refuse_unfit(SPEC)


@pytest.mark.server
def test_one_run_at_a_time(
    database: HostedPostgres, monkeypatch: pytest.MonkeyPatch, provider: NativeProvider, tmp_path: Path
) -> None:
    account = database.create_empty("one")
    with closing(started(provider, tmp_path, name="candidate")) as beside:
        beside.drop(beside.create_empty("one"))
        monkeypatch.setattr(hosted_home, "own_mark", lambda: "another")
        monkeypatch.setattr(hosted_home, "LOCK_WAIT", 0.1)
        with pytest.raises(EnvironmentUnfit, match="another run measures on the server at PROD_LIKE_URL"):
            started(provider, tmp_path)
        assert "another run measures" in clean(VARIABLE)
    with closing(session(database, account)):
        assert database.books(account).opened == 1


# --- what is made there goes again ---


@pytest.mark.server
def test_what_a_killed_run_left_is_dropped(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, provider: NativeProvider, tmp_path: Path
) -> None:
    with monkeypatch.context() as dead:
        dead.setattr(hosted_home, "own_mark", lambda: "dead")
        killed = started(provider, tmp_path)
        template = killed.create_empty("template")
        with session(killed, template) as client:
            client.execute("CREATE TABLE rows (id int)")
        killed.freeze(template)
        killed.create_from_template("first", template)
        # Written down, and not come to be made.
        killed._home.note("connbench_never")
        killed._admin.close()
    assert len(lab.made) == 5
    assert clean(VARIABLE) == f"3 databases dropped at {VARIABLE}"
    assert lab.made == []
    assert clean(VARIABLE) == f"0 databases dropped at {VARIABLE}"
    monkeypatch.setenv(VARIABLE, "")
    assert clean(VARIABLE).startswith("databases may be left at PROD_LIKE_URL, which the next run there drops")


@pytest.mark.server
def test_a_connection_that_was_cut(lab: Lab, provider: NativeProvider, tmp_path: Path) -> None:
    with closing(started(provider, tmp_path)) as database:
        database.create_empty("one")
        lab.do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'lab'")
        with pytest.raises(DatabaseLost, match="has cut us off"), asking(database, "a second"):
            database.create_empty("two")
    assert lab.made == []


@pytest.mark.server
def test_a_server_that_does_not_answer(database: HostedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.waiting.DATABASE_REPLY", 0.2)
    with (
        pytest.raises(DatabaseLost, match=r"did not answer within 0 s .* and is left alone"),
        asking(database, "to rest"),
    ):
        database._admin.execute("SELECT pg_sleep(60)")
    assert not database.service.alive()


# --- books ---


@pytest.mark.server
@pytest.mark.parametrize("user", ["guest", "maker"])
def test_accounts_are_counted_apart(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, provider: NativeProvider, tmp_path: Path, user: str
) -> None:
    """With and without a role for each attempt: the counters are by database."""
    monkeypatch.setenv(VARIABLE, lab.url(user=user))
    with closing(started(provider, tmp_path)) as database:
        template = database.create_empty("template")
        with session(database, template) as client:
            client.execute("CREATE TABLE rows (id int)")
            client.execute("INSERT INTO rows SELECT generate_series(1, 3)")
        database.freeze(template)
        first, second = (database.create_from_template(name, template) for name in ("first", "second"))
        assert (first.user == user) == (user == "maker")
        monitor = PostgresMonitor(**database.monitor_arguments())
        waiting = session(database, first)
        mark = database.mark_peak(first)
        held = [session(database, first) for _ in range(5)]
        for _ in range(7):
            session(database, first).close()
        with closing(monitor):
            # A server that has little of the processor notices late that a client has gone.
            assert wait_for(lambda: monitor.look()[first.database].idle == 6 or None, 60)
        peak = database.read_peak(mark)
        assert (peak.connections, peak.slots, peak.doubt) == (7, None, "")
        assert database.kill_connections(first) == 6
        for client in (waiting, *held):
            client.close()
        books = database.books(first)
        assert (books.opened, books.refused, books.current, books.doubt) == (13, None, 0, "")
        assert database.books(second).opened == 0
        assert database.count_rows(first, "rows") == 3
        with pytest.raises(StackError, match="prod is not restarted from here"):
            database.restart()
        with pytest.raises(StackError, match="prod is not paused from here"):
            database.pause()
        database.drop(first)
    assert lab.made == []


@pytest.mark.server
def test_refused_connections_put_the_peak_in_doubt(database: HostedPostgres, lab: Lab) -> None:
    account = database.create_empty("one")
    mark = database.mark_peak(account)
    with closing(session(database, account)):
        lab.do(f'ALTER DATABASE "{account.database}" CONNECTION LIMIT 1')
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            session(database, account)
    peak = database.read_peak(mark)
    assert "connections to the server were opened, which counts 1 sessions" in peak.doubt
    assert database.books(account).refused is None


@pytest.mark.server
def test_encrypted_where_the_matrix_says_so(lab: Lab, provider: NativeProvider, tmp_path: Path) -> None:
    """The harness's own session, and the app's with the options that the spec has for it."""
    own = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    for tls in (True, False):
        spec = SPEC.model_copy(update={"tls": tls})
        with closing(started(provider, tmp_path, spec)) as database:
            assert database._value(own) == str(tls)
            account, address = database.create_empty("one"), database.service.address
            with connect("postgres", address, account, **spec.django_options) as client:
                assert client.execute(own.encode()).fetchall() == [(tls,)]
            assert database.applied_settings["max_connections"] == str(LIMIT)
            assert "the peak is what this machine's own connections to it show" in database.unknown
    assert lab.made == []
