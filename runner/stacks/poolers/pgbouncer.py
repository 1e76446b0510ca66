"""A private PgBouncer in front of one account's database."""

import os
import re
import secrets
import shutil
import signal
import socket
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import psycopg
from pydantic import Field

from runner import waiting
from runner.durations import Duration
from runner.errors import EnvironmentUnfit, StackError
from runner.provision.commands import ThisMachine
from runner.provision.service import Address, Command, Kit, Place, Provider, Service, Watch
from runner.stacks.databases.base import Account, DatabaseSpec, Peak
from runner.stacks.databases.postgres_log import Tally
from runner.stacks.databases.postgres_monitor import Session, WayIn, connect
from runner.stacks.databases.starting import Starter, hand_over, prove_identity
from runner.stacks.growing_log import GrowingLog
from runner.stacks.poolers.base import ClientBooks, Pooler, PoolerReading, PoolerSpec

INSTALL = "apt-get install pgbouncer"
PROGRAM = "pgbouncer"
ADMIN = "connbench"
CONSOLE = "pgbouncer"
# The harness's session in the admin console; it comes on top of the `max_client_conn` that a matrix asks for.
HARNESS_CLIENTS = 1
#: PgBouncer's names for what a matrix says of it.
PARAMETERS: Mapping[str, str] = {
    "pool_mode": "pool_mode",
    "pool_size": "default_pool_size",
    "min_pool_size": "min_pool_size",
    "reserve_pool_size": "reserve_pool_size",
    "reserve_pool_timeout": "reserve_pool_timeout",
    "max_client_conn": "max_client_conn",
    "query_wait_timeout": "query_wait_timeout",
    "server_idle_timeout": "server_idle_timeout",
}


def find_program(name: str = PROGRAM) -> str:
    """PgBouncer's program; Debian has it where an ordinary user's PATH does not look."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin")
    if found is None:
        raise EnvironmentUnfit(f"PgBouncer is not installed (no pgbouncer was found): {INSTALL}")
    return found


KIT = Kit("pgbouncer", "edoburu/pgbouncer:v1.24.1-p1", find_program)


class PgBouncerSpec(PoolerSpec):
    """PgBouncer; names and defaults are its own, `pool_size` is its `default_pool_size`.

    `settings` are further ones of its `[pgbouncer]` section. Between it and the app nothing is prepared: Django
    leaves psycopg 3's prepared statements off (`prepare_threshold` None) unless told otherwise.
    """

    kind: Literal["pgbouncer"]
    pool_mode: Literal["session", "transaction", "statement"] = "session"
    pool_size: int = Field(default=20, ge=1, le=10_000)
    min_pool_size: int = Field(default=0, ge=0, le=10_000)
    reserve_pool_size: int = Field(default=0, ge=0, le=10_000)
    reserve_pool_timeout: Duration = 5.0
    max_client_conn: int = Field(default=100, ge=1, le=10_000)
    query_wait_timeout: Duration = 120.0
    server_idle_timeout: Duration = 600.0
    settings: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @property
    def client_limit(self) -> int:
        return self.max_client_conn

    @property
    def server_limit(self) -> int:
        return max(self.pool_size, self.min_pool_size) + self.reserve_pool_size

    @property
    def title(self) -> str:
        reserve = f" + reserve {self.reserve_pool_size}" if self.reserve_pool_size else ""
        return f"{self.pool_mode} pooling, pool_size {self.pool_size}{reserve}"

    @property
    def keeps_sessions(self) -> bool:
        return self.pool_mode == "session"

    @property
    def splits_transactions(self) -> bool:
        return self.pool_mode == "statement"

    @property
    def keeps_servers_for(self) -> float:
        return self.server_idle_timeout

    @property
    def waits_at_most(self) -> float:
        return self.query_wait_timeout

    @property
    def django_settings(self) -> Mapping[str, Any]:
        """A server-side cursor of `.iterator()` outlives its transaction, and with it its server connection.

        https://docs.djangoproject.com/en/stable/ref/databases/#transaction-pooling-server-side-cursors
        """
        return {} if self.keeps_sessions else {"DISABLE_SERVER_SIDE_CURSORS": True}

    @property
    def configuration(self) -> str:
        # Without the section's own heading: a second one would set all above it back to the defaults.
        lines = _lines(self.parameters(self.model_fields_set), self.settings)
        return "\n".join(["; PgBouncer, one on each host: in its section [pgbouncer]", *lines])

    def parameters(self, fields: Collection[str] = PARAMETERS) -> dict[str, str | int | float]:
        """So many of its fields, by PgBouncer's names for them."""
        return {PARAMETERS[name]: getattr(self, name) for name in PARAMETERS if name in fields}

    def why_not(self, database: DatabaseSpec) -> str | None:
        if database.engine == "postgres":
            return None
        return "PgBouncer speaks PostgreSQL's protocol alone: it cannot stand before MySQL or MariaDB"


class PgBouncer(Pooler):
    """See `runner.stacks.poolers.base.Pooler`."""

    kit = KIT
    spec: PgBouncerSpec

    def __init__(self, spec: PoolerSpec) -> None:
        assert isinstance(spec, PgBouncerSpec)
        super().__init__(spec)
        self._password = secrets.token_urlsafe(24)
        self._console: Session | None = None
        self._watch: Watch | None = None

    # --- life ---

    @classmethod
    def installed(cls) -> str:
        return installed_version(ThisMachine())

    def start(
        self, provider: Provider, account: Account, spec: DatabaseSpec, database: Address, log_folder: Path
    ) -> None:
        self._provider, program = provider, provider.program(KIT, PROGRAM)
        self.product = installed_version(provider)
        self._account = account
        self._folder = provider.private_folder(f"pooler-{account.database}", unprivileged=True)
        self._users = self._folder / "users.txt"
        users = {ADMIN: self._password, account.user: account.password}
        hand_over(self._users, "".join(f"{_quoted(user)} {_quoted(word)}\n" for user, word in users.items()))
        configuration = self._folder / "pgbouncer.ini"

        def command(address: Address) -> Command:
            hand_over(configuration, self._configuration(address, database.inside, tls=spec.tls))
            # INT would wait for the clients to leave.
            return Command(
                [program, str(configuration)], cwd=self._folder, stop_signal=signal.SIGTERM, kit=KIT, role="pooler"
            )

        starter = Starter(provider, "pooler", log_folder)
        self.service, self._console = starter.start(command, self._connect, psycopg.OperationalError)
        self._log = ClientLog(self.service.log_path, account.database)

    def _configuration(self, address: Address, database: Address, *, tls: bool) -> str:
        name = self._account.database
        spec = self.spec
        settings = {
            "listen_addr": address.host,
            "listen_port": address.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": self._users,
            "admin_users": ADMIN,
            "log_connections": 1,
            "log_disconnections": 1,
            "log_pooler_errors": 1,
            "server_tls_sslmode": "require" if tls else "disable",
            **spec.parameters(),
            "max_client_conn": spec.max_client_conn + HARNESS_CLIENTS,
        }
        target = f"{name} = host={database.host} port={database.port} dbname={name}"
        return "\n".join(["[databases]", target, "[pgbouncer]", *_lines(settings, spec.settings), ""])

    def _connect(self, service: Service) -> Session:
        way_in = WayIn(ADMIN, self._password, CONSOLE)
        session = connect(service.address, way_in, limit=waiting.DATABASE_CONNECT_TRY)
        # The console knows the simple protocol alone.
        session.prepare_threshold = None
        try:
            settings = {row["key"]: row["value"] for row in _show(session, "CONFIG")}
            prove_identity(str(Path(settings["auth_file"]).parent), self._folder)
        except BaseException:
            session.close()
            raise
        return session

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._console is not None:
            self._console.close()
            self._console = None

    # --- books ---

    def mark_peak(self) -> None:
        self._watch = self._provider.wire.watch(self.service.address.port)
        self._read_log()
        tally = self._log.tally
        ports = set(tally.live)
        self._mark = (len(tally.changes), len(tally.live), self._clients() & ports)

    def read_peak(self) -> Peak:
        assert self._watch is not None, "mark_peak() comes first"
        watch, self._watch = self._watch, None
        watch.close()
        self._read_log()
        place, open_then, first = self._mark
        slots = self._log.tally.peak(place, open_then)
        # Nobody but the app knows this port, and the harness's own session was there before.
        held = watch.held(first, lambda _: True)
        return Peak(min(held.peak, slots), slots, held.doubt if held.peak < slots else "")

    def books(self) -> ClientBooks:
        """Reads until every client that has closed is gone from the pooler's log, too."""

        def settled() -> bool | None:
            self._read_log()
            return set(self._log.tally.live) == self._clients() or None

        waiting.wait_for(settled, waiting.STATISTICS_SETTLE)
        tally = self._log.tally
        return ClientBooks(tally.opened, tally.refused, len(tally.live), self.look().waited_seconds)

    def _read_log(self) -> None:
        self.service.bring_log()
        self._log.read()

    def _clients(self) -> frozenset[int]:
        assert self._console is not None, "start() comes first"
        return self._provider.wire.established(self.service.address.port) - {_local_port(self._console)}

    def look(self) -> PoolerReading:
        assert self._console is not None, "start() comes first"
        name = self._account.database
        try:
            pools = [row for row in _show(self._console, "POOLS") if row["database"] == name]
            stats = [row for row in _show(self._console, "STATS") if row["database"] == name]
        except psycopg.Error as error:
            raise StackError(f"the pooler's console does not answer: {error}") from error
        totals = stats[0] if stats else {}
        return PoolerReading(
            clients_active=sum(int(row["cl_active"]) for row in pools),
            clients_waiting=sum(int(row["cl_waiting"]) for row in pools),
            servers_active=sum(int(row["sv_active"]) for row in pools),
            # `used` are idle as well, since longer than server_check_delay; `tested` are being reset.
            servers_idle=sum(int(row["sv_idle"]) + int(row["sv_used"]) + int(row["sv_tested"]) for row in pools),
            longest_wait=max((int(row["maxwait"]) + int(row["maxwait_us"]) / 1e6 for row in pools), default=0.0),
            transactions=int(totals.get("total_xact_count", 0)),
            queries=int(totals.get("total_query_count", 0)),
            waited_seconds=int(totals.get("total_wait_time", 0)) / 1e6,
        )


def _lines(*parts: Mapping[str, object]) -> list[str]:
    """Settings as its file has them, a later part's before an earlier one's; times are seconds without a unit."""
    settings = {name: value for part in parts for name, value in part.items()}
    return [f"{name} = {_value(value)}" for name, value in settings.items()]


def _value(value: object) -> str:
    if isinstance(value, bool):
        # It knows no words for these.
        return str(int(value))
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _quoted(text: str) -> str:
    """As the file of users wants it: a database that is not the run's own may have any password."""
    return '"' + text.replace('"', '""') + '"'


def _show(session: Session, what: str) -> list[dict[str, Any]]:
    """A table of the admin console, whose columns differ between versions."""
    cursor = session.execute(f"SHOW {what}".encode())
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _local_port(session: Session) -> int:
    """The client's own port of a session."""
    descriptor = os.dup(session.fileno())
    with socket.socket(fileno=descriptor) as same:
        return int(same.getsockname()[1])


class ClientLog:
    """PgBouncer's log as a book of one database's clients: who was let in, turned away and gone."""

    _CLIENT = re.compile(r" C-0x[0-9a-f]+: (?P<database>[^/]*)/.*?@[^ ]*:(?P<port>[0-9]+) (?P<text>.*)")
    _FULL = "pooler error: no more connections allowed"

    def __init__(self, path: Path, database: str) -> None:
        self._log = GrowingLog(path)
        self._database = database
        #: By the client's port.
        self.tally = Tally()

    def read(self) -> None:
        """Takes in what has been written since the last call."""
        for line in self._log.lines():
            found = self._CLIENT.search(line.decode(errors="replace"))
            if found is not None:
                self._client(found["database"], int(found["port"]), found["text"])

    def _client(self, database: str, port: int, text: str) -> None:
        tally = self.tally
        if text.startswith(self._FULL):
            # It is turned away before it has said which database it wants.
            tally.refused += 1
        elif database == self._database and text.startswith("login attempt:"):
            tally.opened += 1
            tally.live[port] = len(tally.changes)
            tally.changes.append(1)
            tally.ports.append(port)
        elif text.startswith("closing because:") and tally.live.pop(port, None) is not None:
            tally.changes.append(-1)


def installed_version(place: Place) -> str:
    """`PgBouncer 1.18.0`."""
    command = Command([place.program(KIT, PROGRAM), "--version"], kit=KIT)
    return place.run(command, limit=waiting.VERSION_COMMAND, what="pgbouncer --version").splitlines()[0].strip()
