"""A PostgreSQL server that is there already, a cloud's for example (`url_from`): its counters are all that it shows.

The URL names the server, an account that may make databases, and a database that is the harness's own: an empty one,
or one that carries the mark. Nothing else on the server is touched. Each attempt has a database of its own beside it,
and a role where the account may make roles, as on a server that the run has started; they go with the attempt.
"""

import contextlib
import secrets
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, LiteralString

import psycopg
from psycopg import sql

from runner import waiting
from runner.errors import ConnbenchError, StackError
from runner.provision.service import Address, Provider, Watch
from runner.stacks.databases.base import Account, Books, Peak, PeakMark, account_name
from runner.stacks.databases.hosted_home import Home
from runner.stacks.databases.hosted_place import enter, look, read_place
from runner.stacks.databases.hosted_service import HostedService, hang_up
from runner.stacks.databases.postgres import IDLE_SETTING, Postgres, PostgresSpec
from runner.stacks.databases.postgres_monitor import WayIn

# A session reports at most once a second (PGSTAT_MIN_INTERVAL in the server's pgstat.c).
SETTLED = 1.1
#: What bears on figures, as the server has it.
_TOLD = (
    "max_connections",
    "superuser_reserved_connections",
    "shared_buffers",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "autovacuum",
    "jit",
)
_UNKNOWN = (
    "what it refused is in no counter, its connection log cannot be read, so that the peak is what this machine's own "
    "connections to it show, and its CPU time and memory are out of sight"
)


@dataclass(frozen=True)
class _Began:
    """Where a stretch began: the ports of the account's sessions that were open, those of others, and the books."""

    watch: Watch
    first: frozenset[int]
    others: frozenset[int]
    books: Books


class HostedPostgres(Postgres):
    """See `runner.stacks.databases.base.Database`."""

    # Copied through the log of changes: copying files would have the whole server write a checkpoint.
    _copying: ClassVar[LiteralString] = "TEMPLATE {}"
    given_up = "is left alone"

    def __init__(self, spec: PostgresSpec) -> None:
        super().__init__(spec)
        self._hosted_spec = spec
        self._place = read_place(spec)
        self._way_in = self._place.way_in
        # No name of anybody else's begins like this.
        self._prefix = f"connbench_{secrets.token_hex(3)}_"
        self._made: list[str] = []
        self._began: dict[int, _Began] = {}

    # --- life ---

    def start(self, provider: Provider, name: str, log_folder: Path) -> None:
        self._provider = provider
        log_path = log_folder / f"{name}.log"
        log_path.touch()
        self.service = HostedService(name, self._place.address, log_path, self._leave)
        self._admin = enter(self._place)
        try:
            terms = look(self._admin, self._place, self._hosted_spec)
            self._may_make_roles = terms.may_make_roles
            self._admin.execute(f"SET {IDLE_SETTING} = 0")
            # Where addresses are translated on the way, the server has other ports than this machine.
            self._knows_ports = int(self._value(_OWN_PORT)) in self._established()
            provider.journal.note("hosted", variable=self._place.variable)
            self._enter_home().take()
            self.product = "PostgreSQL " + self._value("SHOW server_version").split(maxsplit=1)[0]
            self.applied_settings = {setting: self._value(f"SHOW {setting}") for setting in _TOLD}
        except BaseException:
            self._admin.close()
            raise
        self.unknown = _UNKNOWN
        if terms.others:
            self.unknown += f"; {terms.others} sessions of others were there when the run began"

    def _enter_home(self) -> Home:
        self._home = Home(self._admin, self._place, may_make_roles=self._may_make_roles)
        return self._home

    def restart(self) -> None:
        raise StackError(f"{self.service.name} is not restarted from here: this run did not start it")

    def _leave(self) -> None:
        """Frees whoever waits for an answer: to close a session from another thread would not."""
        with contextlib.suppress(OSError, psycopg.Error):
            hang_up(self._admin.fileno())

    def close(self) -> None:
        """Drops what is left of what it made; what cannot be dropped now, the next command does."""
        for began in self._began.values():
            began.watch.close()
        self._began.clear()
        with contextlib.suppress(psycopg.Error, ConnbenchError):
            if self._admin.closed or not self.service.alive():
                self._admin = enter(self._place)
                self._enter_home()
            self._home.drop_all(self._made)
            self._home.leave()
            # A provider that was ended before has let go of its journal.
            with contextlib.suppress(OSError):
                self._provider.journal.note("hosted-left", variable=self._place.variable)
        self._admin.close()

    # --- accounts ---

    def _new_account(self, name: str) -> Account:
        known = account_name(f"{self._prefix}{name}")
        self._home.note(known)
        self._made.append(known)
        if not self._may_make_roles:
            return Account(known, self._way_in.user, self._way_in.password)
        return Account(known, known, secrets.token_urlsafe(18))

    def _create_user(self, account: Account) -> None:
        if self._may_make_roles:
            super()._create_user(account)
            # Who is no superuser sees a role's sessions, and may give it a database, as a member of it.
            self._admin.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(account.user)))

    def _share(self, template: Account, account: Account) -> None:
        if self._may_make_roles:
            super()._share(template, account)

    def freeze(self, account: Account) -> None:
        with self._visit(account) as visit:
            visit.execute("VACUUM (ANALYZE)")
        self._wait_until_left(account)

    def drop(self, account: Account) -> None:
        self._home.drop(account.database)
        self._made.remove(account.database)

    def _as(self, account: Account, address: Address) -> WayIn:
        way_in = super()._as(account, address)
        # A relay has another name than the one that the server's certificate is for.
        known = address == self._place.address or not way_in.sslmode.startswith("verify")
        return way_in if known else replace(way_in, sslmode="require")

    # --- books ---

    def books(self, account: Account) -> Books:
        """By the counters alone, once sessions have not come or gone for longer than one takes to report."""
        deadline = time.monotonic() + waiting.STATISTICS_SETTLE
        last, since = self._counters(account), time.monotonic()
        while True:
            at_rest = time.monotonic() - since >= SETTLED and not self._gone(account)
            if at_rest or time.monotonic() >= deadline:
                break
            time.sleep(0.05)
            if (now := self._counters(account)) != last:
                last, since = now, time.monotonic()
        sessions, current = last
        transactions = self._one(_TRANSACTIONS, account)
        return Books(sessions, None, transactions, current, "" if at_rest else "its sessions did not come to rest")

    def _gone(self, account: Account) -> frozenset[int]:
        """Sessions that the server has, and whose clients have closed them; as far as that can be told."""
        return self._ports(account) - self._established() if self._knows_ports else frozenset()

    def _ports(self, account: Account) -> frozenset[int]:
        return frozenset(int(row[0]) for row in self._admin.execute(_PORTS, [account.database]).fetchall())

    def _counters(self, account: Account) -> tuple[int, int]:
        return self._one(_OPENED, account), self._one(_CURRENT, account)

    def _one(self, query: LiteralString, account: Account) -> int:
        row = self._admin.execute(query, [account.database]).fetchone()
        if row is None:
            raise StackError(f"{account.database} is not in the server's books: it does not exist")
        return int(row[0])

    def mark_peak(self, account: Account) -> PeakMark:
        address = self.service.address
        watch = self._provider.wire.watch(address.port, address.host)
        books, established = self.books(account), self._established()
        own = self._ports(account)
        began = _Began(watch, established & own, established - own, books)
        self._began[id(began)] = began
        return PeakMark(account, {"mark": id(began)})

    def read_peak(self, mark: PeakMark) -> Peak:
        """What clients held, by this machine's own packets; in doubt unless the server counts as many sessions."""
        began = self._began.pop(mark.state["mark"])
        began.watch.close()
        held = began.watch.held(began.first, lambda port: port not in began.others)
        books = self.books(mark.account)
        opened = books.opened - began.books.opened
        doubts = [held.doubt] if held.doubt else []
        if held.opened is not None and held.opened != opened:
            doubts.append(f"{held.opened} connections to the server were opened, which counts {opened} sessions")
        if len(began.first) != began.books.current:
            doubts.append("the sessions that were open before are not among this machine's connections")
        return Peak(max(held.peak, books.current), None, "; ".join(doubts))


_OPENED = "SELECT sessions FROM pg_stat_database WHERE datname = %s"
_TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s"
_CURRENT = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND usename IS NOT NULL"
_OWN_PORT = "SELECT client_port FROM pg_stat_activity WHERE pid = pg_backend_pid()"
_PORTS = "SELECT client_port FROM pg_stat_activity WHERE datname = %s AND client_port > 0"
