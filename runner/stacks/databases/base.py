"""What the runner asks of a database server, whichever it is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from runner.models import Strict
from runner.provision.native import NativeProvider
from runner.provision.service import Address, Service


class DatabaseSpec(Strict):
    """A database as the matrix names it. Subclasses fix `engine` and `driver` to what they know."""

    engine: str
    driver: str
    max_connections: int = Field(default=200, ge=10, le=10_000)
    # Server settings on top of the harness's own, by the server's names.
    settings: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @property
    def django_engine(self) -> str:
        """The dotted path of Django's backend."""
        raise NotImplementedError


@dataclass(frozen=True)
class Account:
    """One attempt's own database and the user that owns it, so that the server's books tell attempts apart."""

    database: str
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Books:
    """The server's own counters for one account since it was made.

    `opened` counts sessions that were let in. `refused` counts those turned away for want of a slot.
    `transactions` counts what the account ran: committed and rolled back transactions on PostgreSQL,
    statements on the MySQL family. `current` is the number of sessions open now.
    """

    opened: int
    refused: int
    transactions: int
    current: int


@dataclass(frozen=True)
class PeakMark:
    """Where a stretch began whose peak is wanted; `state` is the database's own business."""

    account: Account
    state: Mapping[str, int]


@dataclass(frozen=True)
class Peak:
    """The most sessions that one account held at once during a stretch, by the server's own books.

    `doubt` says in words why the figure may be off, or is empty.
    """

    connections: int
    doubt: str = ""


@dataclass(frozen=True)
class Reading:
    """One look at the sessions of one account: how many are in each state. `total` includes all of them."""

    active: int = 0
    idle: int = 0
    idle_in_transaction: int = 0
    waiting: int = 0
    total: int = 0


class Monitor(ABC):
    """A connection of the harness's own that looks at sessions; it lives in the sampler's process."""

    @abstractmethod
    def look(self) -> Mapping[str, Reading]:
        """Every account's sessions now, by account (database) name. The monitor itself is never counted."""

    @abstractmethod
    def close(self) -> None: ...


class Database(ABC):
    """One private server, started for this run: its life, its books, its accounts."""

    # Set by `start`.
    service: Service
    #: What it really is, with its version: "PostgreSQL 15.18", "MariaDB 10.11.19", "MySQL 9.7.0".
    product: str
    #: The settings that were put on the server, by its own names: recorded with every run.
    applied_settings: Mapping[str, str]

    #: Programs without which it cannot start, for `connbench doctor`.
    spec: DatabaseSpec

    def __init__(self, spec: DatabaseSpec) -> None:
        self.spec = spec

    @abstractmethod
    def start(self, provider: NativeProvider, name: str, log_folder: Path) -> None:
        """Initialises a data folder, starts the server, proves that it is ours, opens the harness's connection."""

    @abstractmethod
    def create_empty(self, name: str) -> Account:
        """A new, empty database with a user that owns it; any such database may become the template."""

    @abstractmethod
    def freeze(self, account: Account) -> None:
        """Makes the account's database the template of later ones; nothing connects to it any more."""

    @abstractmethod
    def create_from_template(self, name: str) -> Account:
        """A new database, equal to the template, with a user of its own. Its books start at zero."""

    @abstractmethod
    def drop(self, account: Account) -> None: ...

    @abstractmethod
    def books(self, account: Account) -> Books:
        """Read until they settle: statistics may reach the views with a delay."""

    @abstractmethod
    def mark_peak(self, account: Account) -> PeakMark: ...

    @abstractmethod
    def read_peak(self, mark: PeakMark) -> Peak: ...

    @abstractmethod
    def count_rows(self, account: Account, table: str) -> int:
        """Rows of one table of the account's database. Opens a session there, so read the books before."""

    @abstractmethod
    def monitor_arguments(self) -> Mapping[str, Any]:
        """What the sampler's process needs to build this database's `Monitor`: plain JSON values."""

    @abstractmethod
    def close(self) -> None:
        """Closes the harness's own connections; the provider stops the server."""

    #: Found programs by name, or None where missing.
    programs: ClassVar[Sequence[str]] = ()
