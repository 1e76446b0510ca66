"""A private MySQL or MariaDB server: one family, told apart by what the server says of itself."""

import re
import secrets
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from runner import waiting
from runner.errors import EnvironmentUnfit, StackError
from runner.provision.commands import ThisMachine
from runner.provision.service import Address, Command, Provider, Service, Watch
from runner.stacks.databases import mysql_copy, mysql_server
from runner.stacks.databases.base import (
    HARNESS_SESSIONS,
    Account,
    Books,
    Database,
    DatabaseSpec,
    Peak,
    PeakMark,
    account_name,
    setting_text,
)
from runner.stacks.databases.certificate import make_certificate
from runner.stacks.databases.mysql_copy import Cursor, Template, quoted, rows
from runner.stacks.databases.mysql_driver import MySQLdb
from runner.stacks.databases.mysql_monitor import client_sessions
from runner.stacks.databases.starting import Starter, hand_over, prove_identity, wait_until_ready

# A socket file's path longer than this is refused by the kernel (sun_path of <sys/un.h>).
SOCKET_PATH_LENGTH = 107
_NO_SUCH_THREAD = 1094


class MySQLFamilySpec(DatabaseSpec):
    """`settings` are server settings by MySQL's own names."""

    family: ClassVar[str] = "mysql"
    own_max_connections: ClassVar[int] = 151
    driver: Literal["mysqlclient", "pymysql"] = "mysqlclient"

    @model_validator(mode="before")
    @classmethod
    def _refuse_a_server_that_is_there_already(cls, given: Any) -> Any:
        if isinstance(given, dict) and "url_from" in given:
            raise ValueError(
                "`url_from` is for PostgreSQL alone: MySQL and MariaDB count by user only where the server was started "
                "so, and their peak is the whole server's"
            )
        return given

    @property
    def django_engine(self) -> str:
        return "django.db.backends.mysql"

    @property
    def django_options(self) -> Mapping[str, Any]:
        if not self.tls:
            return {}
        return {"ssl_mode": "REQUIRED"} if self.driver == "mysqlclient" else {"ssl": {"verify_mode": False}}

    @property
    def patient_options(self) -> Mapping[str, Any]:
        return {} if self.idle_limit is None else {"init_command": mysql_server.PATIENT_SESSION}

    @property
    def idle_limit(self) -> float | None:
        """`wait_timeout` in seconds."""
        value = self.settings.get("wait_timeout")
        return float(value) if isinstance(value, int | float | str) and str(value).isdigit() else None


class MySQLSpec(MySQLFamilySpec):
    """MySQL; on a machine without it, MariaDB in its place."""

    engine: Literal["mysql"] = "mysql"


class MariaDBSpec(MySQLFamilySpec):
    """MariaDB, whatever else there is."""

    engine: Literal["mariadb"] = "mariadb"


@dataclass(frozen=True)
class _Counts:
    """Counters since the server's start: an account's, and the whole server's.

    `strays` are sessions that no user's books have: there are some from the server's own start, and their
    number stays.
    """

    opened: int
    statements: int
    refused: int
    strays: int


@dataclass(frozen=True)
class _Mark:
    watch: Watch
    first: frozenset[int]
    others: frozenset[int]
    others_count: int
    books: Books
    restarts: int


class MySQL(Database):
    """See `runner.stacks.databases.base.Database`."""

    products: ClassVar[Sequence[mysql_server.Origin]] = (mysql_server.MYSQL, mysql_server.MARIADB)
    kit = mysql_server.MYSQL.kit
    service: Service
    driver_errors = (MySQLdb.Error,)

    def __init__(self, spec: DatabaseSpec) -> None:
        super().__init__(spec)
        self._password = secrets.token_urlsafe(24)
        self._templates: dict[str, Template] = {}
        # What the counters said when an account was made.
        self._bases: dict[str, _Counts] = {}
        self._marks: dict[int, _Mark] = {}
        # What FLUSH STATUS took from counters that it sets to 0.
        self._flushed = dict.fromkeys(_FLUSHED, 0)
        # The peak since the last mark, as far as a restart has set it to 0.
        self._most_used = 0
        self._restarts = 0

    # --- life ---

    @classmethod
    def installed(cls) -> str:
        return mysql_server.find_server(ThisMachine(), cls.products).name

    def start(self, provider: Provider, name: str, log_folder: Path) -> None:
        found = mysql_server.find_server(provider, self.products)
        folder = provider.private_folder(name, unprivileged=True)
        self._data, self._socket = folder / "data", folder / "socket"
        self._by_socket = provider.shares_sockets
        if len(str(self._socket)) > SOCKET_PATH_LENGTH:
            raise EnvironmentUnfit(f"{self._socket} is too long for a socket file: set TMPDIR to a shorter folder")
        mysql_server.initialise(provider, found, self._data, folder)
        first = folder / "first.sql"
        hand_over(first, mysql_server.first_statements(self._password, "localhost" if self._by_socket else "%"))
        self.applied_settings = {
            **mysql_server.server_settings(found),
            **(mysql_server.tls_settings(make_certificate(folder)) if self.spec.tls else mysql_server.no_tls(found)),
            "max_connections": str(self.spec.max_connections + HARNESS_SESSIONS),
            **{key: setting_text(value) for key, value in self.spec.settings.items()},
        }

        def command(address: Address) -> Command:
            argv = [
                found.program,
                "--no-defaults",
                f"--datadir={self._data}",
                f"--socket={self._socket}",
            ]
            argv += [
                f"--port={address.port}",
                f"--bind-address={address.host}",
                f"--init-file={first}",
                f"--pid-file={folder / 'pid'}",
            ]
            argv += mysql_server.server_arguments(found, self.applied_settings)
            # INT means nothing to it.
            environment = mysql_server.own_temporary_folder(folder)
            return Command(argv, environment, stop_signal=signal.SIGTERM, kit=found.kit, role="database")

        starter, self._provider = Starter(provider, name, log_folder), provider
        self.service, self._admin = starter.start(command, self._connect, MySQLdb.OperationalError)
        version, comment = self._rows("SELECT VERSION(), @@version_comment")[0]
        self.product = mysql_server.product_name(str(version), str(comment))
        self._mariadb = self.product.startswith("MariaDB")
        self._drop_strangers()

    def _connect(self, service: Service) -> Any:
        connection = mysql_server.connect(self._way_in(service), self._password)
        try:
            prove_identity(str(rows(connection.cursor(), "SELECT @@datadir")[0][0]), self._data)
        except BaseException:
            connection.close()
            raise
        return connection

    def _way_in(self, service: Service) -> mysql_server.WayIn:
        """How the harness's own sessions reach it: they are not among the app's on the wire."""
        if self._by_socket:
            return {"unix_socket": str(self._socket)}
        return {"host": service.address.host, "port": service.address.port}

    def restart(self) -> None:
        """Its counters start at 0: what they said before is carried over."""
        accounts = [Account(user, user, "") for user in self._bases]
        for account in accounts:
            self._carry(account)
        self._restarts += 1
        self._most_used = max(self._most_used, self._status(_MOST_USED)[_MOST_USED])
        self._flushed = dict.fromkeys(_FLUSHED, 0)
        self._admin.close()
        self._provider.stop(self.service)
        self._provider.start_again(self.service)
        self._admin = wait_until_ready(self.service, self._connect, MySQLdb.OperationalError)

    def _carry(self, account: Account) -> None:
        """Moves where the account's counting began, so that what was counted stays when counters start at 0."""
        base, now = self._bases[account.user], self._counts(account)
        self._bases[account.user] = _Counts(
            base.opened - now.opened, base.statements - now.statements, base.refused - now.refused, base.strays
        )

    def kill_connections(self, account: Account) -> int:
        sessions = self._sessions(account)
        for session in sessions:
            self._kill(session)
        return len(sessions)

    def _kill(self, session: int) -> None:
        try:
            self._cursor.execute(f"KILL {session}")
        except MySQLdb.OperationalError as error:
            if error.args[0] != _NO_SUCH_THREAD:  # else it has gone by itself
                raise

    def _drop_strangers(self) -> None:
        """Users that an installation brings along, such as root at this machine's own name."""
        for user, host in self._rows("SELECT user, host FROM mysql.user"):
            if user not in (mysql_server.ADMIN, "mariadb.sys") and not str(user).startswith("mysql."):
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
        left = waiting.wait_for(lambda: not self._sessions(account) or None, waiting.STATISTICS_SETTLE)
        if left is None:
            raise StackError(f"{account.database} is still in use: it cannot be a template")
        self._cursor.execute("ALTER USER %s@'%%' ACCOUNT LOCK", (account.user,))
        self._templates[account.database] = mysql_copy.describe(self._cursor, account.database)

    def create_from_template(self, name: str, template: Account) -> Account:
        account = self._create_user(name)
        try:
            mysql_copy.copy(self._cursor, self._templates[template.database], account.database)
        except MySQLdb.Error as error:
            raise StackError(f"the database {account.database} could not be made: {error}") from error
        return account

    def _create_user(self, name: str) -> Account:
        known = account_name(name)
        account = Account(known, known, secrets.token_urlsafe(18))
        # In a grant the database's name is a pattern; in a query with arguments % is written twice.
        pattern = quoted(re.sub(r"([_%])", r"\\\1", account.database)).replace("%", "%%")
        try:
            self._cursor.execute("CREATE USER %s@'%%' IDENTIFIED BY %s", (account.user, account.password))
            self._cursor.execute(f"GRANT ALL PRIVILEGES ON {pattern}.* TO %s@'%%'", (account.user,))
        except MySQLdb.Error as error:
            raise StackError(f"the user {known} could not be made: {error}") from error
        self._bases[account.user] = self._counts(account)
        return account

    def drop(self, account: Account) -> None:
        self.kill_connections(account)
        self._cursor.execute(f"DROP DATABASE IF EXISTS {quoted(account.database)}")
        self._cursor.execute("DROP USER IF EXISTS %s@'%%'", (account.user,))
        self._bases.pop(account.user, None)

    def count_rows(self, account: Account, table: str) -> int:
        return int(self._rows(f"SELECT COUNT(*) FROM {quoted(account.database)}.{quoted(table)}")[0][0])

    def _sessions(self, account: Account) -> list[int]:
        found = self._rows("SELECT id FROM information_schema.processlist WHERE user = %s", account.user)
        return [int(row[0]) for row in found]

    # --- books ---

    def books(self, account: Account) -> Books:
        """`refused` is the whole server's count since the account was made: the refused have no account yet.

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
        # Where clients were refused `strays` proves nothing: Aborted_connects is added to without a lock.
        if now.strays != base.strays and not refused:
            doubt = f"the server opened {now.strays - base.strays} connections that are in no user's books"
        return Books(now.opened - base.opened, refused, now.statements - base.statements, len(own), doubt)

    def _counts(self, account: Account) -> _Counts:
        found = self._rows(_USERSTAT if self._mariadb else _ACCOUNTS, account.user)
        opened, statements = (int(found[0][0]), int(found[0][1])) if found else (0, 0)
        status = self._status(_CONNECTIONS, *_FLUSHED)
        for name, taken in self._flushed.items():
            status[name] += taken
        if not self._mariadb:
            return _Counts(opened, statements, status[_AT_LIMIT], 0)
        ((all_opened, denied),) = self._rows(_ALL_USERS)
        # The first client over the limit gets as far as the slot that is kept for administrators. MariaDB
        # counts its refusal as an aborted connect alone, as it does a wrong password.
        refused = status[_ABORTED] - int(denied)
        strays = status[_CONNECTIONS] - int(all_opened) - status[_ABORTED] + status[_AT_LIMIT]
        return _Counts(opened, statements, refused, strays)

    def mark_peak(self, account: Account) -> PeakMark:
        watch = self._provider.wire.watch(self.service.address.port)
        established = self._established()
        own, others = self._client_ports(account)
        self._flush_status()
        self._most_used = 0
        mark = _Mark(watch, established & own, established - own, others, self.books(account), self._restarts)
        self._marks[id(mark)] = mark
        return PeakMark(account, {"mark": id(mark)})

    def read_peak(self, mark: PeakMark) -> Peak:
        """The server has one peak for all accounts: the sessions of others at the mark are taken off it."""
        began = self._marks.pop(mark.state["mark"])
        began.watch.close()
        slots = max(self._most_used, self._status(_MOST_USED)[_MOST_USED]) - began.others_count
        held = began.watch.held(began.first, lambda port: port not in began.others)
        books = self.books(mark.account)
        doubts = []
        if self._client_ports(mark.account)[1] != began.others_count:
            doubts.append("sessions of other accounts came or went meanwhile")
        expected = books.opened - began.books.opened + (books.refused or 0) - (began.books.refused or 0)
        # While the server is away clients knock at a closed door, and that looks like an opening.
        comparable = began.restarts == self._restarts
        if held.opened is not None and held.opened != expected and comparable:
            doubts.append(f"clients opened {held.opened} connections, of which {expected} are in the account's books")
        if held.doubt and held.peak < slots:
            doubts.append(held.doubt)
        return Peak(min(held.peak, slots), slots, "; ".join(doubts))

    def _flush_status(self) -> None:
        before = self._status(*_FLUSHED)
        self._cursor.execute("FLUSH STATUS")
        for name, after in self._status(*_FLUSHED).items():
            self._flushed[name] += before[name] - after

    def _status(self, *names: str) -> dict[str, int]:
        found = self._rows("SHOW GLOBAL STATUS WHERE variable_name IN %s", names)
        return {str(name): int(value) for name, value in found}

    def _established(self) -> frozenset[int]:
        return self._provider.wire.established(self.service.address.port)

    def _client_ports(self, account: Account) -> tuple[frozenset[int], int]:
        """The client ports of the account's sessions, and the number of all other sessions."""
        own, others = set(), 0
        for _, user, host, *_ in client_sessions(self._cursor):
            if user != account.user:
                others += 1
            else:
                own.add(int(str(host).rpartition(":")[2]))
        return frozenset(own), others

    def time_statements(self, account: Account, address: Address, number: int) -> list[float]:
        names = {"user": account.user, "password": account.password, "database": account.database}
        with closing(
            MySQLdb.connect(host=address.host, port=address.port, connect_timeout=waiting.DATABASE_CONNECT, **names)
        ) as session:
            return [waiting.seconds_of(lambda: rows(session.cursor(), "SELECT 1")) for _ in range(number)]

    def ping(self) -> None:
        self._rows("SELECT 1")

    def is_cut(self, error: Exception) -> bool:
        return bool(error.args) and error.args[0] in _CUT

    def monitor_arguments(self) -> Mapping[str, Any]:
        return {"way_in": self._way_in(self.service), "password": self._password}

    @property
    def _cursor(self) -> Cursor:
        cursor: Cursor = self._admin.cursor()
        return cursor

    def _rows(self, query: str, *args: Any) -> Sequence[tuple[Any, ...]]:
        return rows(self._cursor, query, *args)


# The client's CR_SERVER_GONE_ERROR and CR_SERVER_LOST, and what the driver says of a connection that it closed.
_CUT = (2006, 2013)
_CONNECTIONS, _MOST_USED = "Connections", "Max_used_connections"
_ABORTED, _AT_LIMIT = _FLUSHED = ("Aborted_connects", "Connection_errors_max_connections")
_USERSTAT = """
    SELECT total_connections, select_commands + update_commands + other_commands
    FROM information_schema.user_statistics WHERE user = %s
"""
_ALL_USERS = "SELECT SUM(total_connections), SUM(access_denied) FROM information_schema.user_statistics"
_ACCOUNTS = """
    SELECT SUM(a.total_connections),
           (SELECT COALESCE(SUM(s.count_star), 0)
            FROM performance_schema.events_statements_summary_by_account_by_event_name s
            WHERE s.user = a.user AND s.event_name LIKE 'statement/sql/%%')
    FROM performance_schema.accounts a WHERE a.user = %s GROUP BY a.user
"""


class MariaDB(MySQL):
    """The same books under the same names, and the server's own word on which of them it keeps."""

    products = (mysql_server.MARIADB,)
    kit = mysql_server.MARIADB.kit
