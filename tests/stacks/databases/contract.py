"""What every database must keep to; the tests of each database inherit this."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest

from runner.errors import StackError
from runner.provision import wire
from runner.provision.native import NativeProvider
from runner.provision.service import Address
from runner.stacks.databases import MONITORS, make_database
from runner.stacks.databases.base import Account, Database, DatabaseSpec, Monitor, Reading
from tests.stacks.databases.clients import ask, churn, session

ROWS = 2000
LIMIT = 40
_numbers = count(1)


class DatabaseContract:
    """Subclasses give the spec's class and what differs in SQL."""

    is_mysql: ClassVar[bool]
    make_spec: ClassVar[Callable[..., DatabaseSpec]]
    #: Statements that make the template: `parent`, and `child` whose `parent_id` refers to it, ROWS rows each.
    template: ClassVar[list[str]]
    missing_parent: ClassVar[type[Exception]]
    refusal: ClassVar[type[Exception]]
    sleep: ClassVar[str]

    @pytest.fixture(scope="class")
    @classmethod
    def provider(cls) -> Iterator[NativeProvider]:
        with closing(NativeProvider()) as provider:
            yield provider

    @pytest.fixture(scope="class")
    @classmethod
    def frozen(cls, provider: NativeProvider) -> Iterator[tuple[Database, Account]]:
        database = make_database(cls.make_spec(max_connections=LIMIT))
        database.start(provider, "server", provider.folder)
        account = database.create_empty("template_app")
        with closing(session(database, account)) as setting_up:
            for statement in cls.template:
                ask(setting_up, statement)
        database.freeze(account)
        yield database, account
        database.close()

    @pytest.fixture
    def database(self, frozen: tuple[Database, Account]) -> Database:
        return frozen[0]

    @pytest.fixture
    def original(self, frozen: tuple[Database, Account]) -> Account:
        return frozen[1]

    @pytest.fixture
    def account(self, database: Database, original: Account) -> Iterator[Account]:
        account = database.create_from_template(f"b1_some_cell_{next(_numbers)}", original)
        yield account
        database.drop(account)

    @pytest.fixture
    def monitor(self, database: Database) -> Iterator[Monitor]:
        with closing(MONITORS[database.spec.engine](**database.monitor_arguments())) as monitor:
            yield monitor

    @pytest.fixture
    def exact(self, database: Database) -> bool:
        """Whether peaks are exact here, or bounds from below as for a user without rights."""
        with closing(wire.watch(database.service.address.port)) as watch:
            return isinstance(watch, wire.PacketWatch)

    # --- life ---

    def test_it_says_what_it_is_and_how_it_is_set(self, database: Database) -> None:
        name, _, version = database.product.partition(" ")
        assert name in {"PostgreSQL", "MariaDB", "MySQL"}
        assert version[0].isdigit()
        assert version in database.installed()
        assert database.applied_settings["max_connections"] == str(LIMIT + 2)

    def test_it_listens_on_loopback_alone(self, database: Database) -> None:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", database.service.address.port), timeout=1)

    def test_a_bad_setting_is_told_with_the_log(self, provider: NativeProvider) -> None:
        spec = self.make_spec(settings={"no_such_setting": True})
        with pytest.raises(StackError, match=r"(?s)ended while starting.*no.such.setting"):
            make_database(spec).start(provider, "badly-set", provider.folder)

    def test_a_setting_is_put_on_the_server(self, provider: NativeProvider) -> None:
        """And a port that is lost to another process is given up for a free one."""
        database = make_database(self.make_spec(settings={"lock_wait_timeout" if self.is_mysql else "lock_timeout": 7}))
        with socket.create_server(("127.0.0.1", 0)) as taken, pytest.MonkeyPatch.context() as patch:
            free, taken_port = provider.free_address, taken.getsockname()[1]
            offers = iter([Address("127.0.0.1", taken_port)])
            patch.setattr(provider, "free_address", lambda: next(offers, None) or free())
            database.start(provider, "second", provider.folder)
        with closing(database):
            assert database.service.address.port != taken_port
            with closing(session(database, database.create_empty("some_app"))) as client:
                assert "7" in str(ask(client, "SELECT @@lock_wait_timeout" if self.is_mysql else "SHOW lock_timeout"))
            self._foreign_server_is_refused(database)
        database.service.stop()

    def _foreign_server_is_refused(self, database: Any) -> None:
        database._data = Path("/somewhere/else")
        with pytest.raises(StackError, match="it is not ours"):
            database._connect(database.service)

    # --- accounts ---

    def test_a_copy_is_equal_and_belongs_to_its_user(self, database: Database, account: Account) -> None:
        with closing(session(database, account)) as client:
            assert ask(client, "SELECT COUNT(*) FROM child") == [(ROWS,)]
            assert ask(client, "SELECT SUM(parent_id) FROM child")[0][0] == ROWS * (ROWS + 1) // 2
            ask(client, "INSERT INTO parent (name) VALUES ('new')")
            assert ask(client, "SELECT MAX(id) FROM parent") == [(ROWS + 1,)], "the next number was lost"
            with pytest.raises(self.missing_parent):
                ask(client, f"INSERT INTO child (parent_id) VALUES ({10 * ROWS})")
            ask(client, "ALTER TABLE parent ADD COLUMN more INTEGER")
            ask(client, "CREATE TABLE further (id INTEGER PRIMARY KEY)")
        assert database.count_rows(account, "parent") == ROWS + 1

    def test_copies_know_nothing_of_each_other(self, database: Database, original: Account, account: Account) -> None:
        other = database.create_from_template("another", original)
        with closing(session(database, other)) as client:
            ask(client, "DELETE FROM child")
        assert database.count_rows(account, "child") == ROWS
        stranger = Account(account.database, other.user, other.password)
        with pytest.raises(self.refusal, match="denied"):
            session(database, stranger)
        database.drop(other)

    def test_an_account_is_dropped_with_its_sessions_and_starts_anew(
        self, database: Database, original: Account
    ) -> None:
        first = database.create_from_template("comes_again", original)
        client = session(database, first)
        database.drop(first)
        with pytest.raises(Exception, match=r"(?i)terminat|gone|lost|closed|access denied|connection"):
            ask(client, "SELECT 1")
        second = database.create_from_template("comes_again", original)
        assert database.books(second).opened == 0
        database.drop(second)

    def test_a_long_name_is_cut_and_stays_unique(self, database: Database) -> None:
        made = [database.create_empty("a_cell_with_a_name_as_long_as_" + end) for end in ("this_one", "that_one")]
        assert made[0].user != made[1].user
        for account in made:
            session(database, account).close()
            database.drop(account)

    # --- books ---

    def test_books_are_exact_and_start_at_nothing(self, database: Database, account: Account) -> None:
        before = database.books(account)
        assert (before.opened, before.refused, before.transactions, before.current) == (0, 0, 0, 0)
        churned = churn(database, account, clients=4, each=130)
        left = [session(database, account) for _ in range(3)]
        books = database.books(account)
        for client in left:
            client.close()
        assert churned.opened == 520
        assert (books.opened, books.refused, books.current, books.doubt) == (523, 0, 3, "")
        assert books.transactions >= 520
        assert database.books(account).current == 0

    def test_the_refused_are_counted_apart(self, database: Database, account: Account) -> None:
        held, refused = [], 0
        for _ in range(LIMIT + 5):
            try:
                held.append(session(database, account))
            except self.refusal:
                refused += 1
        books = database.books(account)
        for client in held:
            client.close()
        assert refused >= 3
        assert (books.opened, books.refused, books.current, books.doubt) == (len(held), refused, len(held), "")

    def test_connections_that_are_killed_are_gone_and_stay_in_the_books(
        self, database: Database, original: Account, account: Account
    ) -> None:
        other = database.create_from_template("not_killed", original)
        spared, held = session(database, other), [session(database, account) for _ in range(3)]
        assert database.kill_connections(account) == 3
        for client in held:
            with pytest.raises(Exception, match=r"(?i)terminat|gone|lost|closed|connection|kill"):
                ask(client, "SELECT 1")
        books = database.books(account)
        assert (books.opened, books.current, books.doubt) == (3, 0, "")
        assert ask(spared, "SELECT 1") == [(1,)]
        for client in [spared, *held]:
            client.close()
        database.drop(other)

    def test_a_server_that_stands_still_answers_when_it_goes_on(self, database: Database, account: Account) -> None:
        with closing(session(database, account)) as client:
            database.pause()
            try:
                answer = _in_background(lambda: ask(client, "SELECT 1"))
                answer.join(0.5)
                assert answer.is_alive()
            finally:
                database.resume()
            answer.join(30)
            assert not answer.is_alive()

    def test_the_books_go_on_after_a_restart(self, database: Database, account: Account) -> None:
        mark = database.mark_peak(account)
        before = [session(database, account) for _ in range(3)]
        told = database.books(account)
        database.restart()
        assert told.opened == 3
        after = session(database, account)
        ask(after, "SELECT 1")
        books, peak = database.books(account), database.read_peak(mark)
        assert (books.opened, books.refused, books.current) == (4, 0, 1)
        assert books.transactions >= told.transactions
        assert (peak.connections, peak.slots) == (3, 3)
        for client in [after, *before]:
            client.close()

    def test_the_harness_is_not_in_the_books(self, database: Database, account: Account, monitor: Monitor) -> None:
        for _ in range(3):
            database.books(account)
            assert monitor.look() == {}
        mark = database.mark_peak(account)
        monitor.look()
        peak = database.read_peak(mark)
        assert (peak.connections, peak.slots, peak.doubt) == (0, 0, "")
        assert database.books(account).opened == 0

    def test_peak_of_what_is_held_at_once(
        self, database: Database, original: Account, account: Account, exact: bool
    ) -> None:
        other = database.create_from_template("idle_beside_it", original)
        beside = [session(database, other) for _ in range(2)]
        before = session(database, account)
        mark = database.mark_peak(account)
        held = [session(database, account) for _ in range(6)]
        time.sleep(0.0 if exact else 0.2)
        for client in held:
            client.close()
        later = session(database, account)
        peak = database.read_peak(mark)
        assert peak.connections == 7
        assert not (exact and peak.doubt)
        assert peak.slots in (7, 8)
        for client in [*beside, before, later]:
            client.close()
        database.drop(other)

    @pytest.mark.parametrize("hold", [0.0, 0.005])
    def test_peak_of_short_connections_is_that_of_the_clients(
        self, database: Database, account: Account, exact: bool, hold: float
    ) -> None:
        mark = database.mark_peak(account)
        churned = churn(database, account, clients=4, each=100, hold=hold)
        peak = database.read_peak(mark)
        assert peak.connections <= min(churned.perhaps_held, 4)
        assert peak.slots is not None
        assert peak.slots >= peak.connections
        if exact:
            assert peak.connections >= churned.surely_held
            assert peak.doubt == ""
        else:
            assert bool(peak.doubt) == (peak.connections < peak.slots)

    def test_peak_without_the_right_to_watch_packets(
        self, database: Database, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(wire, "watch", wire.LookWatch)
        mark = database.mark_peak(account)
        held = [session(database, account) for _ in range(5)]
        time.sleep(0.1)
        peak = database.read_peak(mark)
        for client in held:
            client.close()
        assert (peak.connections, peak.slots, peak.doubt) == (5, 5, "")

    # --- samples ---

    def test_each_state_is_seen(self, database: Database, account: Account, monitor: Monitor) -> None:
        clients = [session(database, account) for _ in range(4)]
        _idle, in_transaction, blocked, busy = clients
        ask(in_transaction, "BEGIN")
        ask(in_transaction, "UPDATE parent SET name = 'x' WHERE id = 1")
        running = [
            _in_background(lambda: ask(blocked, "UPDATE parent SET name = 'y' WHERE id = 1")),
            _in_background(lambda: ask(busy, self.sleep)),
        ]
        wanted = Reading(active=1, idle=1, idle_in_transaction=1, waiting=1, total=4)
        deadline = time.monotonic() + 3
        while (seen := monitor.look().get(account.database)) != wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        ask(in_transaction, "ROLLBACK")
        for thread in running:
            thread.join()
        for client in clients:
            client.close()
        assert seen == wanted

    def test_a_monitor_that_is_cut_off_says_so(self, database: Database, provider: NativeProvider) -> None:
        arguments = {**database.monitor_arguments(), "password": "wrong"}
        with pytest.raises(StackError, match="could not connect"):
            MONITORS[database.spec.engine](**arguments)


def _in_background(work: Callable[[], object]) -> Any:
    thread = threading.Thread(target=work)
    thread.start()
    return thread
