"""A private PostgreSQL server."""

import re
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, LiteralString, Self

import psycopg
from psycopg import sql
from pydantic import Field, model_validator

from runner import waiting
from runner.errors import EnvironmentUnfit, StackError
from runner.provision.commands import ThisMachine, run_command
from runner.provision.service import Address, Command, Kit, Place, Provider, Service, Watch
from runner.stacks.databases import postgres_log
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
from runner.stacks.databases.certificate import Certificate, make_certificate
from runner.stacks.databases.postgres_monitor import Session, WayIn, connect
from runner.stacks.databases.starting import Starter, hand_over, prove_identity, wait_until_ready

ADMIN = "connbench"
INSTALL = "apt-get install postgresql"
KIT = Kit("postgres", "postgres:17.6-bookworm", lambda name: str(find_binaries() / name))

# The same for each run. Nothing waits for a disk, which the benchmark's machine shares with others; nothing
# runs by itself in the background of a window; plans do not change under way.
SETTINGS = {
    "unix_socket_directories": "",
    "shared_buffers": "256MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    # An attempt lives for seconds on a vacuumed and analysed copy: autovacuum would only strike at random.
    "autovacuum": "off",
    "jit": "off",
    "track_activities": "on",
    "track_counts": "on",
    **postgres_log.SETTINGS,
}


# Since PostgreSQL 14.
IDLE_SETTING = "idle_session_timeout"
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_IDLE_LIMIT = re.compile(rf"([0-9]+(?:\.[0-9]+)?)\s*({'|'.join(_UNITS)})?")


class PostgresSpec(DatabaseSpec):
    """`settings` are server settings by PostgreSQL's own names."""

    engine: Literal["postgres"] = "postgres"
    family: ClassVar[str] = "postgres"
    own_max_connections: ClassVar[int] = 100
    driver: Literal["psycopg", "psycopg2"] = "psycopg"
    #: The environment variable with the URL of a server that is there already; see `runner.stacks.databases.hosted`.
    url_from: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None

    @model_validator(mode="after")
    def _settings_are_for_a_server_of_ones_own(self) -> Self:
        if self.url_from is not None and self.settings:
            raise ValueError("`settings` are put on a server that is started: one at `url_from` has its own")
        return self

    @property
    def hosted(self) -> bool:
        return self.url_from is not None

    @property
    def django_engine(self) -> str:
        return "django.db.backends.postgresql"

    @property
    def django_options(self) -> Mapping[str, Any]:
        if self.tls:
            return {"sslmode": "require"}
        # libpq would encrypt by itself where the server can; one of a run's own cannot.
        return {"sslmode": "disable"} if self.hosted else {}

    @property
    def patient_options(self) -> Mapping[str, Any]:
        return {} if self.idle_limit is None else {"options": f"-c {IDLE_SETTING}=0"}

    @property
    def idle_limit(self) -> float | None:
        """`idle_session_timeout`: milliseconds unless it has a unit, 0 is never."""
        match = _IDLE_LIMIT.fullmatch(str(self.settings.get(IDLE_SETTING, "0")).strip())
        return None if match is None else float(match[1]) * _UNITS[match[2] or "ms"] or None


@dataclass(frozen=True)
class _Mark:
    watch: Watch
    first: frozenset[int]
    place: int
    ports: int
    open_then: int


class Postgres(Database):
    """See `runner.stacks.databases.base.Database`."""

    kit = KIT
    service: Service
    driver_errors = (psycopg.Error,)
    #: How a database is made from a template: by its files, at the price of a checkpoint.
    _copying: ClassVar[LiteralString] = "TEMPLATE {} STRATEGY FILE_COPY"

    def __init__(self, spec: DatabaseSpec) -> None:
        super().__init__(spec)
        self._way_in = WayIn(ADMIN, secrets.token_urlsafe(24))
        self._marks: dict[int, _Mark] = {}

    # --- life ---

    @classmethod
    def installed(cls) -> str:
        return installed_version(ThisMachine())

    def start(self, provider: Provider, name: str, log_folder: Path) -> None:
        program = provider.program(KIT, "postgres")
        folder = provider.private_folder(name, unprivileged=True)
        self._data, rules = folder / "data", folder / "hba.conf"
        # The server listens for this run alone, and to nobody without a password.
        hand_over(rules, "host all all all scram-sha-256\n")
        self._initialise(provider, folder)
        self.applied_settings = {
            **SETTINGS,
            "max_connections": str(self.spec.max_connections + HARNESS_SESSIONS),
            **(_tls_settings(make_certificate(folder)) if self.spec.tls else {}),
            **{key: setting_text(value) for key, value in self.spec.settings.items()},
        }

        def command(address: Address) -> Command:
            argv = [program, "-D", str(self._data), "-p", str(address.port)]
            argv += ["-c", f"listen_addresses={address.host}", "-c", f"hba_file={rules}"]
            for key, value in self.applied_settings.items():
                argv += ["-c", f"{key}={value}"]
            return Command(argv, kit=KIT, role="database")

        starter, self._provider = Starter(provider, name, log_folder), provider
        self.service, self._admin = starter.start(command, self._connect, psycopg.OperationalError)
        provider.note_shared_memory(self.service)
        if IDLE_SETTING in self.applied_settings:
            # The harness's own sessions rest for as long as an attempt lasts.
            self._admin.execute(f"SET {IDLE_SETTING} = 0")
            self._admin.execute(f"ALTER ROLE {ADMIN} SET {IDLE_SETTING} = 0")
        self._log = postgres_log.ConnectionLog(self.service.log_path)
        self.product = "PostgreSQL " + self._value("SHOW server_version").split(maxsplit=1)[0]

    def restart(self) -> None:
        self._admin.close()
        # INT is a fast shutdown: sessions are told, and the statistics are saved.
        self._provider.stop(self.service)
        self.service.bring_log()
        self._log.server_stopped()
        self._provider.start_again(self.service)
        self._admin = wait_until_ready(self.service, self._connect, psycopg.OperationalError)
        self._provider.note_shared_memory(self.service)

    def kill_connections(self, account: Account) -> int:
        return len(self._admin.execute(_KILL, [account.database]).fetchall())

    def _initialise(self, provider: Provider, folder: Path) -> None:
        secret = folder / "secret"
        hand_over(secret, self._way_in.password)
        argv = [
            provider.program(KIT, "initdb"),
            "--pgdata",
            str(self._data),
            "--username",
            ADMIN,
            "--pwfile",
            str(secret),
        ]
        argv += ["--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"]
        command = Command(argv, cwd=folder, kit=KIT)
        provider.run(command, limit=waiting.DATABASE_START, what="PostgreSQL's initdb", unprivileged=True)
        secret.unlink()

    def _connect(self, service: Service) -> Session:
        session = connect(service.address, self._way_in, limit=waiting.DATABASE_CONNECT_TRY)
        try:
            row = session.execute("SHOW data_directory").fetchone()
            prove_identity("" if row is None else str(row[0]), self._data)
        except BaseException:
            session.close()
            raise
        return session

    def close(self) -> None:
        for mark in self._marks.values():
            mark.watch.close()
        self._marks.clear()
        self._admin.close()

    # --- accounts ---

    def create_empty(self, name: str) -> Account:
        return self._create(name, sql.SQL("TEMPLATE template0"))

    def freeze(self, account: Account) -> None:
        with self._visit(account) as visit:
            visit.execute("VACUUM (FREEZE, ANALYZE)")
        self._wait_until_left(account)
        database = sql.Identifier(account.database)
        self._admin.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true").format(database))
        self._admin.execute("CHECKPOINT")

    def create_from_template(self, name: str, template: Account) -> Account:
        source = sql.Identifier(template.database)
        account = self._create(name, sql.SQL(self._copying).format(source))
        self._share(template, account)
        return account

    def _share(self, template: Account, account: Account) -> None:
        """The objects belong to the template's user. A member of its role has all the rights of their owner."""
        grant = sql.SQL("GRANT {} TO {}")
        self._admin.execute(grant.format(sql.Identifier(template.user), sql.Identifier(account.user)))

    def _create(self, name: str, source: sql.Composable) -> Account:
        account = self._new_account(name)
        user, database = sql.Identifier(account.user), sql.Identifier(account.database)
        try:
            self._create_user(account)
            self._admin.execute(sql.SQL("CREATE DATABASE {} OWNER {} ").format(database, user) + source)
            self._admin.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(database))
        except psycopg.Error as error:
            raise StackError(f"the database {account.database} could not be made: {error}") from error
        return account

    def _new_account(self, name: str) -> Account:
        known = account_name(name)
        return Account(known, known, secrets.token_urlsafe(18))

    def _create_user(self, account: Account) -> None:
        role = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
        self._admin.execute(role.format(sql.Identifier(account.user), sql.Literal(account.password)))

    def drop(self, account: Account) -> None:
        database, user = sql.Identifier(account.database), sql.Identifier(account.user)
        self._admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
        self._admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(user))
        self._read_log()
        self._log.forget(account.database)

    def count_rows(self, account: Account, table: str) -> int:
        with self._visit(account) as visit:
            row = visit.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
        assert row is not None
        return int(row[0])

    def _visit(self, account: Account) -> Session:
        return connect(self.service.address, replace(self._way_in, home=account.database))

    def _wait_until_left(self, account: Account) -> None:
        """A database with a session in it can be neither a template nor copied."""
        gone = waiting.wait_for(lambda: self._sessions(account) == 0 or None, waiting.STATISTICS_SETTLE)
        if gone is None:
            raise StackError(
                f"{account.database} still has {self._sessions(account)} sessions: it cannot be a template"
            )

    # --- books ---

    def books(self, account: Account) -> Books:
        """`transactions` lacks what an open session did since it last reported: up to a second of its work.

        A session reports when it falls idle, at most once a second, and then not before ten seconds of
        idleness (PGSTAT_MIN_INTERVAL, PGSTAT_IDLE_INTERVAL in the server's pgstat.c), and when it ends.
        """
        deadline = time.monotonic() + waiting.STATISTICS_SETTLE
        while True:
            row = self._admin.execute(_BOOKS, [account.database]).fetchone()
            if row is None:
                raise StackError(f"{account.database} is not in the server's books: it does not exist")
            sessions, transactions, ports = row
            self._read_log()
            tally = self._log.tally(account.database)
            agree = sessions == tally.opened and len(ports) == len(tally.live)
            if (agree and self._established() >= set(ports)) or time.monotonic() >= deadline:
                break
            time.sleep(0.01)
        doubt = ""
        if sessions != tally.opened:
            doubt = f"pg_stat_database counts {sessions} sessions, the connection log {tally.opened}"
        return Books(tally.opened, tally.refused, transactions, len(ports), doubt)

    def _read_log(self) -> None:
        self.service.bring_log()
        self._log.read()

    def _established(self) -> frozenset[int]:
        return self._provider.wire.established(self.service.address.port)

    def mark_peak(self, account: Account) -> PeakMark:
        watch = self._provider.wire.watch(self.service.address.port)
        rows = self._admin.execute(_PORTS, [account.database]).fetchall()
        first = self._established() & {int(row[0]) for row in rows}
        self._read_log()
        tally = self._log.tally(account.database)
        mark = _Mark(watch, first, len(tally.changes), len(tally.ports), len(tally.live))
        self._marks[id(mark)] = mark
        return PeakMark(account, {"mark": id(mark)})

    def read_peak(self, mark: PeakMark) -> Peak:
        began = self._marks.pop(mark.state["mark"])
        began.watch.close()
        self._read_log()
        tally = self._log.tally(mark.account.database)
        slots = tally.peak(began.place, began.open_then)
        held = began.watch.held(began.first, set(tally.ports[began.ports :]).__contains__)
        return Peak(min(held.peak, slots), slots, held.doubt if held.peak < slots else "")

    def time_statements(self, account: Account, address: Address, number: int) -> list[float]:
        with connect(address, self._as(account, address)) as session:
            return [waiting.seconds_of(lambda: session.execute("SELECT 1").fetchall()) for _ in range(number)]

    def _as(self, account: Account, address: Address) -> WayIn:  # noqa: ARG002
        """How a session of the account's gets in at the address."""
        return replace(self._way_in, user=account.user, password=account.password, home=account.database)

    def ping(self) -> None:
        self._admin.execute("SELECT 1")

    def is_cut(self, error: Exception) -> bool:
        return isinstance(error, psycopg.OperationalError) and self._admin.closed

    def monitor_arguments(self) -> Mapping[str, Any]:
        address = self.service.address
        return {"host": address.host, "port": address.port, **asdict(self._way_in)}

    def _sessions(self, account: Account) -> int:
        row = self._admin.execute(_SESSIONS, [account.database]).fetchone()
        assert row is not None
        return int(row[0])

    def _value(self, query: str) -> str:
        row = self._admin.execute(query.encode()).fetchone()
        assert row is not None
        return str(row[0])


_KILL = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = %s AND backend_type = 'client backend'
"""
# Autovacuum's have no user; whoever copies a database ends those.
_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND usename IS NOT NULL"
_PORTS = "SELECT client_port FROM pg_stat_activity WHERE datname = %s AND client_port > 0"
_BOOKS = """
    SELECT sessions, xact_commit + xact_rollback,
           ARRAY(SELECT client_port FROM pg_stat_activity a
                 WHERE a.datname = d.datname AND a.backend_type = 'client backend')
    FROM pg_stat_database d WHERE datname = %s
"""


def _tls_settings(certificate: Certificate) -> dict[str, str]:
    return {"ssl": "on", "ssl_cert_file": str(certificate.path), "ssl_key_file": str(certificate.key)}


def installed_version(place: Place) -> str:
    """`postgres (PostgreSQL) 17.2`."""
    command = Command([place.program(KIT, "postgres"), "--version"], kit=KIT)
    return place.run(command, limit=waiting.VERSION_COMMAND, what="postgres --version").strip()


def find_binaries() -> Path:
    """The folder of the server's programs: by the PATH, else the newest of Debian's, else by pg_config."""
    on_path = shutil.which("postgres")
    if on_path is not None and shutil.which("initdb") is not None:
        return Path(on_path).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if debian:
        return debian[-1].parent
    if shutil.which("pg_config") is not None:
        folder = Path(
            run_command(Command(["pg_config", "--bindir"]), limit=waiting.VERSION_COMMAND, what="pg_config").strip()
        )
        if (folder / "initdb").exists():
            return folder
    raise EnvironmentUnfit(f"PostgreSQL's server is not installed (no initdb was found): {INSTALL}")
