"""A private MySQL or MariaDB server: one family, told apart by what the server says of itself."""

import os
import re
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import MySQLdb

from runner import waiting
from runner.errors import EnvironmentUnfit, StackError
from runner.provision.native import Command, NativeProvider, run_command
from runner.provision.service import Service
from runner.sampling import wire
from runner.stacks.databases import mysql_copy
from runner.stacks.databases.base import (
    HARNESS_SESSIONS,
    START_TRIES,
    Account,
    Books,
    Database,
    DatabaseSpec,
    Monitor,
    Peak,
    PeakMark,
    PortTaken,
    Reading,
    account_name,
    setting_text,
)
from runner.stacks.databases.mysql_copy import Cursor, Template, quoted, rows

ADMIN = "connbench"
INSTALL = "apt-get install mariadb-server"
# A socket file's path longer than this is refused by the kernel (sun_path of <sys/un.h>).
SOCKET_PATH_LENGTH = 107

# The same for each run. Nothing waits for a disk, which the benchmark's machine shares with others; nothing
# runs by itself in the background of a window; plans do not change under way.
SETTINGS = {
    "bind_address": "127.0.0.1",
    "skip_name_resolve": "ON",
    "skip_log_bin": "",
    "character_set_server": "utf8mb4",
    "innodb_buffer_pool_size": "256M",
    "innodb_flush_log_at_trx_commit": "0",
    "innodb_doublewrite": "OFF",
    "innodb_stats_auto_recalc": "OFF",
    "innodb_buffer_pool_dump_at_shutdown": "OFF",
    "innodb_buffer_pool_load_at_startup": "OFF",
    "event_scheduler": "OFF",
    "thread_cache_size": "100",
    # Several attempts' tables are open at once, by all their sessions.
    "table_open_cache": "4000",
    "table_definition_cache": "2000",
    # A burst of new connections must wait for the server, not be dropped by the kernel.
    "back_log": "512",
    # Counting accounts needs no instrument; that of transactions tells who is idle in one. Both cost about 1 %
    # of a point query's time (interleaved trial), all the usual ones 16 %.
    "performance_schema": "ON",
}
INSTRUMENTS = ("%=OFF", "transaction=ON")
CONSUMERS = {"performance_schema_consumer_events_transactions_current": "ON"}
MARIADB_SETTINGS = {
    # performance_schema.accounts loses connections that end at the same instant (2 in 16,000); this is exact.
    "userstat": "ON",
    "innodb_log_file_size": "96M",
}
MYSQL_SETTINGS = {
    "secure_file_priv": "",
    "mysqlx": "OFF",
    # As with the others, which have no certificate: no encryption on the loopback interface.
    "tls_version": "",
    "innodb_redo_log_capacity": "100M",
    # SHOW PROCESSLIST without the lock that connecting needs too.
    "loose_performance_schema_show_processlist": "ON",
}
# Statements by account have no other source there.
MYSQL_INSTRUMENTS = ("statement/%=ON",)


class MySQLSpec(DatabaseSpec):
    """`settings` are server settings by MySQL's own names."""

    engine: Literal["mysql"] = "mysql"
    driver: Literal["mysqlclient"] = "mysqlclient"

    @property
    def django_engine(self) -> str:
        return "django.db.backends.mysql"


@dataclass(frozen=True)
class Product:
    """An installed server: its program, and which of the family it is."""

    program: Path
    mariadb: bool
    product: str


@dataclass(frozen=True)
class _Base:
    """What the books said when an account was made."""

    opened: int
    refused: int
    statements: int


@dataclass(frozen=True)
class _Mark:
    watch: wire.Watch
    first: frozenset[int]
    others: frozenset[int]
    others_count: int
    books: Books


class MySQL(Database):
    """See `runner.stacks.databases.base.Database`."""

    def __init__(self, spec: DatabaseSpec) -> None:
        super().__init__(spec)
        self._password = secrets.token_urlsafe(24)
        self._template: tuple[Account, Template] | None = None
        self._bases: dict[str, _Base] = {}
        self._marks: dict[int, _Mark] = {}
        # FLUSH STATUS sets the server's count of refused connections to 0.
        self._refused_before = 0

    # --- life ---

    @classmethod
    def installed(cls) -> str:
        found = find_server()
        return f"{'MariaDB' if found.mariadb else 'MySQL'} {found.version}"

    def start(self, provider: NativeProvider, name: str, log_folder: Path) -> None:
        found = find_server()
        folder = provider.private_folder(name, unprivileged=True)
        self._data, self._socket = folder / "data", folder / "socket"
        if len(str(self._socket)) > SOCKET_PATH_LENGTH:
            raise EnvironmentUnfit(f"{self._socket} is too long for a socket file: set TMPDIR to a shorter folder")
        self._mariadb = found.mariadb
        initialise(found, self._data, folder)
        self._init_file = self._write_init_file(folder)
        self.applied_settings = self._settings()
        for attempt in range(1, START_TRIES + 1):
            log_path = log_folder / (f"{name}.log" if attempt == 1 else f"{name}-{attempt}.log")
            try:
                self._start_once(provider, name, found.program, log_path)
                return
            except PortTaken:
                if attempt == START_TRIES:
                    raise

    def _settings(self) -> dict[str, str]:
        return {
            **SETTINGS,
            **CONSUMERS,
            **(MARIADB_SETTINGS if self._mariadb else MYSQL_SETTINGS),
            "max_connections": str(self.spec.max_connections + HARNESS_SESSIONS),
            **{key: setting_text(value) for key, value in self.spec.settings.items()},
        }

    def _write_init_file(self, folder: Path) -> Path:
        """Runs before the server listens: at no moment is there an account without a password."""
        statements = [
            f"CREATE USER IF NOT EXISTS {ADMIN}@localhost IDENTIFIED BY '{self._password}';",
            f"GRANT ALL PRIVILEGES ON *.* TO {ADMIN}@localhost WITH GRANT OPTION;",
            "DROP USER IF EXISTS root@localhost, root@'127.0.0.1', root@'::1';",
        ]
        path = folder / "init.sql"
        path.write_text("\n".join(statements) + "\n")
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
        path.chmod(0o600)
        return path

    def _start_once(self, provider: NativeProvider, name: str, program: Path, log_path: Path) -> None:
        address = provider.free_address()
        argv = [str(program), "--no-defaults", f"--datadir={self._data}", f"--socket={self._socket}"]
        argv += [f"--port={address.port}", f"--init-file={self._init_file}", f"--pid-file={self._data / 'pid'}"]
        for key, value in self.applied_settings.items():
            argv.append(f"--{key}" if key == "skip_log_bin" else f"--{key}={value}")
        instruments = INSTRUMENTS if self._mariadb else INSTRUMENTS + MYSQL_INSTRUMENTS
        argv += [f"--performance-schema-instrument={instrument}" for instrument in instruments]
        # It takes no notice of INT.
        command = Command(argv, stop_signal=signal.SIGTERM)
        service = provider.start(name, command, address, log_path, unprivileged=True)
        try:
            self._admin = self._wait_until_ready(service)
            self._prove_identity()
        except BaseException:
            provider.stop(service)
            raise
        self.service = service
        self._drop_strangers()
        version, comment = self._rows("SELECT VERSION(), @@version_comment")[0]
        self.product = product_name(str(version), str(comment))

    def _wait_until_ready(self, service: Service) -> Any:
        last = "it did not answer"

        def probe() -> Any:
            nonlocal last
            if not service.alive():
                tail = service.log_tail()
                if "Address already in use" in tail:
                    raise PortTaken(f"{service.name}: every port that was tried was taken by another process:\n{tail}")
                raise StackError(f"{service.name} (MySQL or MariaDB) ended while starting; its log says:\n{tail}")
            try:
                return connect(self._socket, self._password)
            except MySQLdb.OperationalError as error:
                last = str(error)
                return None

        found = waiting.wait_for(probe, waiting.DATABASE_START)
        if found is None:
            raise StackError(
                f"{service.name} (MySQL or MariaDB) was not ready after {waiting.DATABASE_START:.0f} s ({last}); "
                f"its log says:\n{service.log_tail()}"
            )
        return found

    def _prove_identity(self) -> None:
        """A server that answers on our socket is ours only if it says that it lives in our folder."""
        found = str(self._rows("SELECT @@datadir")[0][0])
        if Path(found).resolve() != self._data.resolve():
            self._admin.close()
            raise StackError(f"the server that answered lives in {found}, not in {self._data}: it is not ours")

    def _drop_strangers(self) -> None:
        """Users that an installation brings along, such as root at this machine's own name."""
        for user, host in self._rows("SELECT user, host FROM mysql.user"):
            if user not in (ADMIN, "mariadb.sys") and not str(user).startswith("mysql."):
                self._cursor.execute("DROP USER %s@%s", (user, host))

    def close(self) -> None:
        for mark in self._marks.values():
            mark.watch.close()
        self._marks.clear()
        self._admin.close()

    # --- accounts ---

    def create_empty(self, name: str) -> Account:
        account = self._create_user(name)
        self._cursor.execute(f"CREATE DATABASE {quoted(account.database)}")
        return account

    def freeze(self, account: Account) -> None:
        self._wait_until_left(account)
        self._cursor.execute("ALTER USER %s@'%%' ACCOUNT LOCK", (account.user,))
        template = mysql_copy.describe(self._cursor, account.database)
        for table in template.tables:
            self._rows(f"ANALYZE TABLE {quoted(account.database)}.{quoted(table.name)}")
        self._template = account, template

    def create_from_template(self, name: str) -> Account:
        if self._template is None:
            raise StackError("there is no template: `freeze` an account first")
        account = self._create_user(name)
        try:
            mysql_copy.copy(self._cursor, self._template[1], account.database)
        except MySQLdb.Error as error:
            raise StackError(f"the database {account.database} could not be made: {error}") from error
        return account

    def _create_user(self, name: str) -> Account:
        known = account_name(name)
        account = Account(known, known, secrets.token_urlsafe(18))
        # In a grant the database's name is a pattern.
        pattern = re.sub(r"([_%])", r"\\\1", account.database)
        try:
            self._cursor.execute("CREATE USER %s@'%%' IDENTIFIED BY %s", (account.user, account.password))
            self._cursor.execute(
                f"GRANT ALL PRIVILEGES ON {quoted(pattern)}.* TO %s@'%%'".replace("%.*", "%%.*"), (account.user,)
            )
        except MySQLdb.Error as error:
            raise StackError(f"the user {known} could not be made: {error}") from error
        opened, statements = self._account_counts(account)
        self._bases[account.user] = _Base(opened, self._refused(), statements)
        return account

    def drop(self, account: Account) -> None:
        for (session,) in self._rows(_SESSION_IDS, account.user):
            try:
                self._cursor.execute(f"KILL {int(session)}")
            except MySQLdb.OperationalError as error:
                if error.args[0] != 1094:  # it has gone by itself
                    raise
        self._cursor.execute(f"DROP DATABASE IF EXISTS {quoted(account.database)}")
        self._cursor.execute("DROP USER IF EXISTS %s@'%%'", (account.user,))
        self._bases.pop(account.user, None)

    def count_rows(self, account: Account, table: str) -> int:
        return int(self._rows(f"SELECT COUNT(*) FROM {quoted(account.database)}.{quoted(table)}")[0][0])

    def _wait_until_left(self, account: Account) -> None:
        gone = waiting.wait_for(lambda: not self._rows(_SESSION_IDS, account.user) or None, waiting.STATISTICS_SETTLE)
        if gone is None:
            raise StackError(f"{account.database} is still in use: it cannot be a template")

    # --- books ---

    def books(self, account: Account) -> Books:
        """`refused` is the whole server's count since the account was made: a refused client has no account yet.

        `transactions` are statements.
        """
        base = self._bases[account.user]
        deadline = time.monotonic() + waiting.STATISTICS_SETTLE
        while True:
            own, _ = self._client_ports(account)
            now = self._counts(account)
            settled = self._established() >= own and now.strays == base.strays
            if settled or time.monotonic() >= deadline:
                break
            time.sleep(0.01)
        refused = now.refused - base.refused
        doubt = ""
        # Where clients are refused the figure is a bound only: the server adds to Aborted_connects without a lock.
        if now.strays != base.strays and not refused:
            doubt = f"the server opened {now.strays - base.strays} connections that are in no user's books"
        return Books(now.opened - base.opened, refused, now.statements - base.statements, len(own), doubt)

    def _counts(self, account: Account) -> "_Counts":
        """The counters since the server's start."""
        found = self._rows(_USERSTAT if self._mariadb else _ACCOUNTS, account.user)
        opened, statements = (int(found[0][0]), int(found[0][1])) if found else (0, 0)
        status = self._flushed() + self._status()
        if not self._mariadb:
            return _Counts(opened, statements, status[_AT_LIMIT], 0)
        ((all_opened, denied),) = self._rows(_ALL_USERS)
        # MariaDB counts a client that is turned away from the slot kept for administrators, which is the first
        # one over the limit, as an aborted connect alone, as it does one with a wrong password.
        refused = status[_ABORTED] - int(denied)
        strays = status[_CONNECTIONS] - int(all_opened) - status[_ABORTED] + status[_AT_LIMIT]
        return _Counts(opened, statements, refused, strays)

    def mark_peak(self, account: Account) -> PeakMark:
        port = self.service.address.port
        watch = wire.watch(port)
        established = wire.established(port)
        own, others = self._client_ports(account)
        self._refused_before += self._status("Connection_errors_max_connections")
        self._cursor.execute("FLUSH STATUS")
        mark = _Mark(watch, established & own, established - own, others, self.books(account))
        self._marks[id(mark)] = mark
        return PeakMark(account, {"mark": id(mark)})

    def read_peak(self, mark: PeakMark) -> Peak:
        """The server has one peak for all accounts: those of the others that were open at the mark are taken off."""
        began = self._marks.pop(mark.state["mark"])
        began.watch.close()
        slots = self._status("Max_used_connections") - began.others_count
        held = began.watch.held(began.first, lambda port: port not in began.others)
        books = self.books(mark.account)
        doubts = []
        if self._client_ports(mark.account)[1] != began.others_count:
            doubts.append("sessions of other accounts came or went meanwhile")
        expected = books.opened - began.books.opened + books.refused - began.books.refused
        if held.opened is not None and held.opened != expected:
            doubts.append(
                f"{held.opened} connections were opened to the server, of which the account's books have {expected}"
            )
        if held.doubt and held.peak < slots:
            doubts.append(held.doubt)
        return Peak(min(held.peak, slots), slots, "; ".join(doubts))

    def _client_ports(self, account: Account) -> tuple[frozenset[int], int]:
        """The client ports of the account's sessions, and the number of all other sessions."""
        own, others = set(), 0
        for _, user, host, *_ in client_sessions(self._cursor):
            if user != account.user:
                others += 1
            elif ":" in str(host):
                own.add(int(str(host).rpartition(":")[2]))
        return frozenset(own), others

    def monitor_arguments(self) -> Mapping[str, Any]:
        return {"socket": str(self._socket), "password": self._password}

    @property
    def _cursor(self) -> Cursor:
        cursor: Cursor = self._admin.cursor()
        return cursor

    def _rows(self, query: str, *args: Any) -> Sequence[tuple[Any, ...]]:
        return rows(self._cursor, query, *args)


_SESSION_IDS = "SELECT id FROM information_schema.processlist WHERE user = %s"
_USERSTAT = """
    SELECT total_connections, select_commands + update_commands + other_commands
    FROM information_schema.user_statistics WHERE user = %s
"""
_ACCOUNTS = """
    SELECT SUM(a.total_connections),
           (SELECT COALESCE(SUM(s.count_star), 0)
            FROM performance_schema.events_statements_summary_by_account_by_event_name s
            WHERE s.user = a.user AND s.event_name LIKE 'statement/sql/%%')
    FROM performance_schema.accounts a WHERE a.user = %s GROUP BY a.user
"""
_IN_TRANSACTION = """
    SELECT t.processlist_id FROM performance_schema.events_transactions_current e
    JOIN performance_schema.threads t ON t.thread_id = e.thread_id
    WHERE e.state = 'ACTIVE'
"""
_LOCK_WAITS = "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
# The server renews its view of transactions only when nobody has read it for 0.1 s (CACHE_MIN_IDLE_TIME_NS in
# InnoDB's trx0i_s.cc): read every 50 ms it would stay as it was for ever.
_LOCK_VIEW_EVERY = 0.11


def client_sessions(cursor: Cursor) -> Sequence[tuple[Any, ...]]:
    """Rows of SHOW FULL PROCESSLIST without the server's own threads."""
    found = rows(cursor, "SHOW FULL PROCESSLIST")
    return [row for row in found if row[1] not in ("system user", "event_scheduler") and row[4] != "Daemon"]


class MySQLMonitor(Monitor):
    """Looks at `SHOW FULL PROCESSLIST`, and at the transactions behind it."""

    def __init__(self, socket: str, password: str) -> None:
        self._connection = connect(Path(socket), password)
        self._waiting: dict[int, Any] = {}
        self._seen_locks = float("-inf")

    def look(self) -> Mapping[str, Reading]:
        """A session that waits for a row's lock was seen to do so at most 0.11 s ago, in the same statement."""
        cursor: Cursor = self._connection.cursor()
        sessions = client_sessions(cursor)
        in_transaction = {int(row[0]) for row in rows(cursor, _IN_TRANSACTION) if row[0] is not None}
        self._look_at_locks(cursor, sessions)
        counts: dict[str, dict[str, int]] = {}
        for session, user, _host, _db, command, _time, state, info, *_ in sessions:
            if user == ADMIN:
                continue
            of = counts.setdefault(str(user), {"total": 0})
            of["total"] += 1
            if command == "Sleep":
                kind = "idle_in_transaction" if session in in_transaction else "idle"
            elif command in ("Query", "Execute", "Fetch", "Prepare", "Reset stmt", "Init DB", "Statistics", "Ping"):
                waits = str(state).startswith("Waiting for") or self._waiting.get(session, _NOTHING) == info
                kind = "waiting" if waits else "active"
            else:
                continue
            of[kind] = of.get(kind, 0) + 1
        return {user: Reading(**of) for user, of in counts.items()}

    def _look_at_locks(self, cursor: Cursor, sessions: Sequence[tuple[Any, ...]]) -> None:
        now = time.monotonic()
        if now - self._seen_locks >= _LOCK_VIEW_EVERY:
            self._seen_locks = now
            waiting_now = {int(row[0]) for row in rows(cursor, _LOCK_WAITS)}
            self._waiting = {row[0]: row[7] for row in sessions if row[0] in waiting_now}

    def close(self) -> None:
        self._connection.close()


_NOTHING = object()


def connect(socket: Path, password: str) -> Any:
    """A session of the harness's own, through the server's private socket file."""
    connection = MySQLdb.connect(unix_socket=str(socket), user=ADMIN, passwd=password, connect_timeout=5, charset="utf8mb4")
    connection.autocommit(True)
    return connection


def product_name(version: str, comment: str) -> str:
    """ "MariaDB 10.11.19" from "10.11.19-MariaDB-0+deb12u1", "MySQL 8.4.3" from "8.4.3"."""
    family = "MariaDB" if "mariadb" in f"{version} {comment}".lower() else "MySQL"
    return f"{family} {version.split('-')[0]}"


def find_server() -> Product:
    """MySQL where it is installed, else MariaDB."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/libexec", "/usr/local/mysql/bin"])
    found = []
    for name in ("mysqld", "mariadbd"):
        program = shutil.which(name, path=path)
        if program is not None:
            text = run_command(Command([program, "--no-defaults", "--version"]), limit=10, what=f"{name} --version")
            version = re.search(r"Ver (\S+)", text)
            found.append(Product(Path(program), "MariaDB" in text, product_name(version[1] if version else "?", text)))
    if not found:
        raise EnvironmentUnfit(f"neither MySQL's nor MariaDB's server is installed: {INSTALL}")
    return min(found, key=lambda product: product.mariadb)


def initialise(product: Product, data: Path, folder: Path) -> None:
    """Makes the data folder, as the user that the server will run as."""
    if product.mariadb:
        program = shutil.which("mariadb-install-db")
        if program is None:
            raise EnvironmentUnfit(f"mariadb-install-db is missing: {INSTALL}")
        argv = [program, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db"]
        argv += ["--innodb-log-file-size=96M", "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=OFF"]
    else:
        argv = [str(product.program), "--no-defaults", "--initialize-insecure", f"--datadir={data}", "--secure-file-priv="]
    command = Command(argv, cwd=folder)
    run_command(command, limit=waiting.DATABASE_START, what="making the server's data folder", unprivileged=True)
