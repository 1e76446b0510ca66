"""What the runner asks of a database server, whichever it is."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from runner.durations import DurationOrNone
from runner.models import Strict
from runner.provision.service import Address, Kit, Provider, Service
from runner.stacks.drivers import DRIVERS


class DatabaseSpec(Strict):
    """A database as the matrix names it. Subclasses fix `engine` and `driver` to what they know."""

    engine: str
    driver: str
    #: Products of a family speak the same to drivers, so that the same drivers and poolers go with them.
    family: ClassVar[str]
    #: `max_connections` as the product has it by itself.
    own_max_connections: ClassVar[int]
    #: A group's stacks share one server: unless a matrix asks for a limit, there is room for all of them.
    max_connections: int = Field(default=1000, ge=10, le=10_000)
    #: The app's connections are encrypted; the server has a certificate of its own, which nobody verifies.
    tls: bool = False
    #: Network distance: seconds that a round trip between the app and this server takes longer; 0 is none.
    round_trip: DurationOrNone = 0.0
    # Server settings on top of the harness's own, by the server's names.
    settings: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @property
    def hosted(self) -> bool:
        """Whether it is a server that is there already, which no run starts, sets or stops."""
        return False

    @property
    def patient_options(self) -> Mapping[str, Any]:
        """Django's `OPTIONS` for a session that the server does not end for being idle."""
        return {}

    @property
    def packages(self) -> frozenset[str]:
        """What the app's environment must have for this driver, by the names of the package index."""
        return frozenset({DRIVERS[self.driver].package})

    @property
    def idle_limit(self) -> float | None:
        """Seconds after which the server closes a connection that is idle, as `settings` say; None if it does not."""
        return None

    @property
    def django_options(self) -> Mapping[str, Any]:
        """`OPTIONS` that the driver needs to reach this server."""
        return {}

    @property
    def django_engine(self) -> str:
        """The dotted path of Django's backend."""
        raise NotImplementedError


@dataclass(frozen=True)
class Account:
    """One attempt's own database and the user that owns it: the server's books tell attempts apart."""

    database: str
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Books:
    """The server's own counters for one account since it was made.

    They are read when they have settled: no session whose client has gone is still open.

    `opened` counts sessions that were let in. `refused` counts those turned away for want of a slot; None where no
    book has them.
    `transactions` counts what the account ran: committed and rolled back transactions on PostgreSQL,
    statements on the MySQL family. `current` is the number of sessions open now. `doubt` says in words where
    two books of the server did not agree, or is empty.
    """

    opened: int
    refused: int | None
    transactions: int
    current: int
    doubt: str = ""


@dataclass(frozen=True)
class PeakMark:
    """Where a stretch began whose peak is wanted; `state` is the database's own business."""

    account: Account
    state: Mapping[str, int]


@dataclass(frozen=True)
class Peak:
    """The most connections of one account at once during a stretch, seen from either end.

    `connections` is what the account's clients held, from each `connect` to its `close`: the figure that the
    application's settings bound. `slots` is what the server kept occupied, ending sessions included: the
    figure that `max_connections` bounds; None where no book has it. They differ where connections are short,
    since a server learns of a `close` only when its process or thread gets the processor (see
    `runner.provision.wire`). `doubt` says in words why `connections` may be off, or is empty.
    """

    connections: int
    slots: int | None
    doubt: str = ""


@dataclass(frozen=True)
class Reading:
    """One look at the sessions of one account: how many are in each state.

    No session is in two states: one that waits for a lock is `waiting`, not `active`. `total` includes those
    that are starting or ending too.
    """

    active: int = 0
    idle: int = 0
    idle_in_transaction: int = 0
    waiting: int = 0
    total: int = 0


class Monitor(ABC):
    """A connection of the harness's own that looks at sessions; it lives in the sampler's process.

    Where it cannot connect, or its connection is cut, it raises StackError and is of no more use.
    """

    @abstractmethod
    def look(self) -> Mapping[str, Reading]:
        """Every account's sessions now, by account (database) name. The monitor itself is never counted."""

    @abstractmethod
    def close(self) -> None: ...


# The harness's own sessions on each server: one for the books, one for the sampler. They come on top of the
# `max_connections` that a matrix asks for, so that the applications have all of those.
HARNESS_SESSIONS = 2
# MySQL's limit on the name of a user, in characters; the other limits are wider.
ACCOUNT_NAME_LENGTH = 32


def account_name(name: str) -> str:
    """`name`, or its beginning with a hash of the whole where a server would not take it for a user."""
    if len(name) <= ACCOUNT_NAME_LENGTH and name.isascii():
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name.encode('ascii', 'replace').decode()[: ACCOUNT_NAME_LENGTH - 9]}-{digest}"


def setting_text(value: str | float | bool) -> str:
    """A setting's value as servers spell it."""
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


class Database(ABC):
    """One server, private and started for this run unless its spec is `hosted`: its life, its books, its accounts.

    Set by `start`: `service`; `product`, what it really is ("PostgreSQL 15.18", "MariaDB 10.11.19", "MySQL
    9.7.0"); `applied_settings`, what was put on the server, by its own names, recorded with every run.
    """

    #: Its programs, and the image that has them for a provider of containers.
    kit: ClassVar[Kit]
    service: Service
    product: str = "the database server"
    #: What cannot be known of it, in words; nothing of a server of the run's own.
    unknown: str = ""
    applied_settings: Mapping[str, str]
    #: What becomes of a server that does not answer.
    given_up: str = "was ended"
    #: What the driver raises when the server fails it.
    driver_errors: tuple[type[Exception], ...] = ()

    def __init__(self, spec: DatabaseSpec) -> None:
        self.spec = spec

    @classmethod
    @abstractmethod
    def installed(cls) -> str:
        """The server that this machine has, with its version; EnvironmentUnfit where it has none."""

    @abstractmethod
    def start(self, provider: Provider, name: str, log_folder: Path) -> None:
        """Makes a data folder, starts the server, connects to it and proves that it is ours.

        EnvironmentUnfit where its programs are missing, StackError with the log's tail where it stays down.
        """

    @abstractmethod
    def restart(self) -> None:
        """A clean stop and a start at the same address; every session ends, and the books go on.

        What connects between the last reading of counters that the stop sets to 0 and the stop itself, some
        milliseconds, is in no book. StackError where the server stays down.
        """

    @abstractmethod
    def kill_connections(self, account: Account) -> int:
        """Ends the account's sessions from the server's side; how many there were."""

    def pause(self) -> None:
        """Has every process of the server stand still: connections stay open and nothing answers."""
        self.service.suspend()

    def resume(self) -> None:
        """Goes on after `pause`; safe to call at any time. Stopping the server resumes it too."""
        self.service.resume()

    @abstractmethod
    def create_empty(self, name: str) -> Account:
        """A new, empty database with a user that owns it; any such database may become the template."""

    @abstractmethod
    def freeze(self, account: Account) -> None:
        """Makes the account's database a template of later ones; nothing connects to it any more."""

    @abstractmethod
    def create_from_template(self, name: str, template: Account) -> Account:
        """A new database, equal to one that is frozen, with a user of its own. Its books start at zero."""

    @abstractmethod
    def drop(self, account: Account) -> None: ...

    @abstractmethod
    def books(self, account: Account) -> Books:
        """Reads until they settle, at most `waiting.STATISTICS_SETTLE` seconds."""

    @abstractmethod
    def mark_peak(self, account: Account) -> PeakMark: ...

    @abstractmethod
    def read_peak(self, mark: PeakMark) -> Peak: ...

    @abstractmethod
    def count_rows(self, account: Account, table: str) -> int:
        """Rows of one table of the account's database. Opens a session there, so read the books before."""

    @abstractmethod
    def time_statements(self, account: Account, address: Address, number: int) -> list[float]:
        """Seconds of `SELECT 1`, so many times on one session of the account's that was opened through `address`."""

    @abstractmethod
    def ping(self) -> None:
        """Asks over the harness's own connection whether the server is there; one of `driver_errors` if it is not."""

    @abstractmethod
    def is_cut(self, error: Exception) -> bool:
        """Whether one of `driver_errors` says that the harness's own connection is gone: no other is made."""

    @abstractmethod
    def monitor_arguments(self) -> Mapping[str, Any]:
        """What the sampler's process needs to build this database's `Monitor`: plain JSON values."""

    @abstractmethod
    def close(self) -> None:
        """Closes the harness's own connections and watches; the provider stops the server."""
