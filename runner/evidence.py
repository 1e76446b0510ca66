"""What an attempt saw, phase by phase."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runner.load.generator import Driven
from runner.matrix.cells import Cell
from runner.matrix.phases import Fault
from runner.plan import PlannedAttempt
from runner.results.schema import CommandRun, LoadHostRecord, Phase, RateStep
from runner.sampling.host import HostRow, KernelCounters
from runner.stacks.app import AppDescription
from runner.stacks.databases.base import Books, Peak
from runner.stacks.poolers.base import ClientBooks, PoolerReading


@dataclass(frozen=True)
class Stretch:
    """One stretch of load, count or window, with what was read around it."""

    driven: Driven
    #: Place in its round; 0 for the count.
    position: int
    #: Seconds by component: app, database, load, and pooler where there is one.
    cpu_seconds: Mapping[str, float]
    kernel: tuple[KernelCounters, KernelCounters]


@dataclass(frozen=True)
class Aftermath:
    """Read when the app server has gone: its log is whole, and its connections have handed in their statistics."""

    books: Books
    logged_requests: int
    #: Rows that each audited table has gained since the template.
    rows_gained: Mapping[str, int]


@dataclass(frozen=True)
class Strike:
    """A fault: from the moment it struck until it had done (the server was there again, or went on)."""

    fault: Fault
    begun: float
    ended: float


@dataclass(frozen=True)
class Step:
    """One rate that a search tried."""

    found: RateStep
    stretch: Stretch


@dataclass
class Evidence:
    """Filled phase by phase; what was never reached stays None."""

    cell: Cell
    planned: PlannedAttempt
    group: str
    app: AppDescription
    started_at: str
    #: Monotonic clock at offset 0.
    clock_zero: float
    #: What the database server took before the first stack came up.
    database_bytes: int
    server_command: Sequence[str] = ()
    #: Of the app's process, whole, secrets masked.
    app_environment: Mapping[str, str] = field(default_factory=dict)
    shown_databases: Mapping[str, object] = field(default_factory=dict)
    phases: list[Phase] = field(default_factory=list)
    counted: Stretch | None = None
    peak: Peak | None = None
    books: Books | None = None
    #: With `rate: search`: what was tried, and the bracket that it came to.
    steps: list[Step] = field(default_factory=list)
    held: float | None = None
    failed: float | None = None
    windows: list[Stretch] = field(default_factory=list)
    #: In place of count and windows, where the cell has phases of its own.
    drives: list[Stretch] = field(default_factory=list)
    strikes: list[Strike] = field(default_factory=list)
    commands: list[CommandRun] = field(default_factory=list)
    load_hosts: Sequence[LoadHostRecord] = ()
    host_rows: list[HostRow] = field(default_factory=list)
    #: What the pooler showed, by monotonic moment, and its own books: as `peak` and `books` of the database's.
    pooler_rows: list[tuple[float, PoolerReading]] = field(default_factory=list)
    client_peak: Peak | None = None
    client_books: ClientBooks | None = None

    @property
    def components(self) -> tuple[str, ...]:
        """The parts of the stack whose use of the machine is told apart."""
        beside = (["database"] if not self.cell.database.hosted else []) + (["pooler"] if self.cell.pooler else [])
        return ("app", *beside, "load")

    @property
    def is_open(self) -> bool:
        """Whether requests were due on a schedule (the open model)."""
        return self.cell.load.model == "open"

    @property
    def stretches(self) -> list[Stretch]:
        """What flags look at. A search goes beyond what its stack can bear: that says nothing against it."""
        return [*([self.counted] if self.counted else []), *self.windows, *self.drives]

    @property
    def measured(self) -> bool:
        """Whether there is anything to read back."""
        return bool(self.stretches or self.commands)
