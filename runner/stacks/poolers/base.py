"""What the runner asks of a connection pooler between the app and its database, whichever it is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from runner.models import Strict
from runner.provision.service import Address, Kit, Provider, Service
from runner.stacks.databases.base import Account, DatabaseSpec, Peak


class PoolerSpec(Strict):
    """A pooler as the matrix names it. Subclasses fix `kind` to what they know."""

    kind: str

    @property
    @abstractmethod
    def client_limit(self) -> int:
        """The most clients that it lets in."""

    @property
    @abstractmethod
    def server_limit(self) -> int:
        """The most connections that it opens to one account's database."""

    @property
    @abstractmethod
    def title(self) -> str:
        """For tables and formulas: `transaction pooling, pool_size 4`."""

    @property
    def keeps_sessions(self) -> bool:
        """Whether a client keeps its server connection for as long as it stays connected."""
        return False

    @property
    def splits_transactions(self) -> bool:
        """Whether it refuses transactions of more than one statement, and drops the connection that asks for one."""
        return False

    @property
    def keeps_servers_for(self) -> float:
        """Seconds for which an unused server connection stays open."""
        return float("inf")

    @property
    def waits_at_most(self) -> float:
        """Seconds for which a client waits for a server connection before it is turned away."""
        return float("inf")

    @property
    def django_settings(self) -> Mapping[str, Any]:
        """What `DATABASES` needs behind it, where a matrix does not say otherwise."""
        return {}

    @property
    def configuration(self) -> str:
        """What a matrix says of it, as its own configuration file has it."""
        return ""

    @abstractmethod
    def why_not(self, database: DatabaseSpec) -> str | None:
        """Why it cannot stand before this database, in words; None if it can."""


@dataclass(frozen=True)
class ClientBooks:
    """The clients of one attempt since its pooler was started, by the pooler's own books.

    `opened` were let in, `refused` turned away for want of room, `current` are connected now.
    `waited_seconds` is the time that clients have waited for a server connection, all of them together.
    """

    opened: int
    refused: int
    current: int
    waited_seconds: float


@dataclass(frozen=True)
class PoolerReading:
    """One look: clients that are served and that wait, server connections in use and at rest.

    `longest_wait` is in seconds, of the client that has waited longest now. The rest are totals since the start.
    """

    clients_active: int = 0
    clients_waiting: int = 0
    servers_active: int = 0
    servers_idle: int = 0
    longest_wait: float = 0.0
    transactions: int = 0
    queries: int = 0
    waited_seconds: float = 0.0


class Pooler(ABC):
    """One attempt's pooler: started fresh for it, in front of its account alone."""

    #: Its programs, and the image that has them for a provider of containers.
    kit: ClassVar[Kit]
    service: Service
    #: What it really is: `PgBouncer 1.18.0`.
    product: str

    def __init__(self, spec: PoolerSpec) -> None:
        self.spec = spec

    @classmethod
    @abstractmethod
    def installed(cls) -> str:
        """The program that this machine has, with its version; EnvironmentUnfit where it has none."""

    @abstractmethod
    def start(
        self, provider: Provider, account: Account, spec: DatabaseSpec, database: Address, log_folder: Path
    ) -> None:
        """Starts it in front of the database of `spec` at `database` and proves that it is ours.

        EnvironmentUnfit where its program is missing, StackError with the log's tail where it stays down.
        """

    @abstractmethod
    def mark_peak(self) -> None:
        """From here on the most clients at once are wanted."""

    @abstractmethod
    def read_peak(self) -> Peak:
        """The most clients at once since `mark_peak`: held by the app, and seen by the pooler."""

    @abstractmethod
    def books(self) -> ClientBooks: ...

    @abstractmethod
    def look(self) -> PoolerReading:
        """What it does at this moment; StackError where it does not answer."""

    @abstractmethod
    def close(self) -> None:
        """Closes the harness's own connections and watches; the provider stops the process. Safe to call twice."""
