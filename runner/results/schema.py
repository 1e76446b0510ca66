"""What a run's folder holds, as typed records. Every file says which version of this schema it follows.

Times are seconds, of two kinds: `…_at` is UTC as ISO 8601; an offset counts from the start of the attempt on the
monotonic clock. Durations of requests are milliseconds and say so in their names.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from runner.models import Strict

SCHEMA_VERSION = 1

Status = Literal["ok", "failed", "invalid", "skipped", "incomparable", "underpowered"]


class Verdict(Strict):
    """A value, never an exception. `reason` is empty for `ok` alone."""

    status: Status
    reason: str = ""


class Flag(Strict):
    """Something that a reader should know of an attempt that stands all the same: `code` is stable, `text` is prose."""

    code: Literal[
        "generator-saturated",
        "host-disturbed",
        "listen-overflow",
        "sampler-late",
        "worker-idle",
        "worker-skew",
        "not-steady",
        "memory-grows",
        "peak-in-doubt",
        "load-script-error",
        "nothing-held",
        "capacity-unbounded",
    ]
    text: str


class Phase(Strict):
    """A stretch of an attempt. `offset` and `seconds` are on the attempt's clock."""

    name: Literal["up", "verify", "count", "idle", "search", "window", "drive", "command", "fault", "down"]
    offset: float
    seconds: float
    #: Round of a window, or place in the cell's own list of phases, from 0.
    index: int | None = None


class Latency(Strict):
    """Exact quantiles of successful requests, milliseconds. None where there was none."""

    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


class Waterfall(Strict):
    """Where the time of a successful request goes: means, milliseconds, in the order in which it meets them.

    `queue` is what passes outside the app: waiting for a worker, reading the request, sending the answer. `pool` is
    getting a connection from a pool, `connect` opening one and setting its session up, `sql` waiting for statements,
    commits and health checks. `app` is the rest of the app; all of it where it did not tell its parts. A thread that
    has its answer and waits for the interpreter is still in the part that it was in.
    """

    queue: float
    pool: float | None = None
    connect: float | None = None
    sql: float | None = None
    app: float


class ClientConnections(Strict):
    """The app's connections to its pooler, over the same time as the database's: the pooler's own books.

    `waiting_max` is the most clients that waited for a server connection at one look, `waited_seconds` what all of
    them together have waited.
    """

    peak: int
    opened: int
    refused: int
    lingering: int
    opened_per_request: float | None
    waiting_max: int
    waited_seconds: float


class Connections(Strict):
    """What the database's own books say of the count, from the cold start to the end of the idle time."""

    peak: int
    #: Slots taken on the server at the peak, sessions included whose client had already gone.
    peak_slots: int | None
    opened: int
    #: None where the server was there already: it counts those whom it lets in.
    refused: int | None
    lingering: int
    #: Requests that touch the database, the harness's own checks among them; what `opened` is divided by.
    database_requests: int
    opened_per_request: float | None
    #: Transactions (PostgreSQL) or statements (MySQL family) that the database ran for the cell.
    transactions: int
    #: Where the app speaks to a pooler: all of the above is the pooler's side to the database then.
    client: ClientConnections | None = None


class Arrivals(Strict):
    """In the open model: requests that were due in the windows, those that left late, those that never left."""

    due: int
    late: int
    dropped: int


class RateStep(Strict):
    """One rate that the search tried: `requests` and `errors` of those due in the step's measured part.

    `reason` says what of the service level was missed; where the generator had no more to give (`limited`), that is
    no fault of the cell's.
    """

    rate: float
    seconds: float
    requests: int
    errors: int
    arrivals: Arrivals
    latency_ms: Latency
    outcome: Literal["held", "missed", "limited"]
    reason: str = ""


class Capacity(Strict):
    """The highest rate that was held under the service level, and the lowest above it that was missed twice.

    `held_rps` None: not even the lowest rate was held. `failed_rps` None: the most that was tried was held, so the
    capacity is at least that.
    """

    held_rps: float | None
    failed_rps: float | None
    steps: Sequence[RateStep]


class WindowResult(Strict):
    """One window: `offset`/`seconds` are the measured part, the lead-in left out.

    `requests` and `errors` were answered within it; in the open model they were due within it. CPU seconds cover
    the lead-in too, as do `driven_requests`.
    """

    round: int
    position: int
    offset: float
    seconds: float
    requests: int
    errors: int
    latency_ms: Latency
    #: In the open model: from when requests left.
    service_ms: Latency | None = None
    driven_requests: int
    cpu_seconds: Mapping[str, float]


class ComponentUsage(Strict):
    """`cpu_seconds_per_request` over the windows (the count where there are none); peak memory over the count."""

    cpu_seconds_per_request: float | None
    peak_memory_bytes: int | None


class ErrorKind(Strict):
    """Failed requests of one kind, with one of them as an example."""

    count: int
    example: str


class Recovery(Strict):
    """What a fault did to the requests, from the moment it struck (`offset`) to the next fault or the end of the load.

    `seconds`: until the fault had done, that is until the database answered again. `requests` and `failed_requests`
    were answered, or given up, after the strike. The other seconds count from the strike. The first success is the
    answer of the first successful request that was sent after it or, where some failed, after the first of those.
    Steady is the quarter of a second from which on nothing failed and in which at least half as many requests
    succeeded as before the strike. None where that never came, or where no load ran.
    """

    fault: str
    offset: float
    seconds: float
    requests: int
    failed_requests: int
    seconds_to_first_success: float | None
    seconds_to_steady: float | None


class CommandRun(Strict):
    """A management command: `exit_code` 0 is success; `last_line` is the end of what it printed, all is in `log`."""

    command: str
    beside: bool
    offset: float
    seconds: float
    exit_code: int
    last_line: str
    log: str


class WorkerShare(Strict):
    """What one worker process answered. `threads` counts the contexts of it that answered."""

    pid: int
    requests: int
    threads: int


class Agreement(Strict):
    """Three independent counts of the same requests, which must agree.

    `locust` counts requests that were answered, with whatever status; `unanswered` those whose connection failed,
    which may or may not have reached the server.
    """

    locust: int
    unanswered: int
    server_log: int
    #: Rows that the audited endpoints must have made, and rows found: {"orders_order": [12, 12]}
    audits: Mapping[str, tuple[int, int]]
    #: Requests that touch the database, and the transactions that it ran for them: the second is no smaller.
    database_requests: int
    database_transactions: int


class SamplerQuality(Strict):
    """How well the database sampler kept its rate."""

    asked_per_second: float
    taken: int
    late: int
    achieved_per_second: float
    cpu_seconds: float


class LoadHostRecord(Strict):
    """Another host that drove an attempt's load (`load.hosts`).

    `clock_offset_ms` is what its monotonic clock is ahead of the runner's, wrong by `clock_error_ms` at most: what its
    requests' moments were put right by. `round_trip_ms` is the quickest there was to it.
    """

    host: str
    address: str
    workers: int
    requests: int
    clock_offset_ms: float
    clock_error_ms: float
    round_trip_ms: float


class AttemptRecord(Strict):
    """attempt.json: one attempt's metrics and verdict. Parts that were never reached are None."""

    schema_version: int = SCHEMA_VERSION
    cell: str
    block: int
    attempt: int
    group: str
    verdict: Verdict
    #: The run was stopped before it was over: `connbench resume` makes it anew, under the next number.
    cut_off: bool = False
    flags: Sequence[Flag] = ()
    started_at: str
    #: The fingerprint of the host that it ran on; empty in records of older versions.
    measured_on: str = ""
    #: The monotonic clock's reading at offset 0: ties the files of one host together.
    clock_zero: float
    phases: Sequence[Phase] = ()
    count_requests: int | None = None
    count_errors: int | None = None
    connections: Connections | None = None
    windows: Sequence[WindowResult] = ()
    #: Response times: from when a request was due, which in the closed model is when it left.
    latency_ms: Latency | None = None
    #: In the open model: from when it left.
    service_ms: Latency | None = None
    arrivals: Arrivals | None = None
    #: With `rate: search`; the windows then ran at the rate that was held.
    capacity: Capacity | None = None
    waterfall_ms: Waterfall | None = None
    throughput_rps: float | None = None
    requests: int = 0
    errors: Mapping[str, ErrorKind] = Field(default_factory=dict)
    resources: Mapping[str, ComponentUsage] = Field(default_factory=dict)
    workers: Sequence[WorkerShare] = ()
    #: One for each fault of the cell's phases, and one for each command, in their order.
    recovery: Sequence[Recovery] = ()
    commands: Sequence[CommandRun] = ()
    agreement: Agreement | None = None
    sampler: SamplerQuality | None = None
    #: Those of other hosts that drove the load; empty where the runner's own machine did.
    load_hosts: Sequence[LoadHostRecord] = ()
    #: Machine-wide during the count and windows: CPU busy, steal, pressure.
    host: Mapping[str, float] = Field(default_factory=dict)
    #: What was started: server command line, settings, secrets masked.
    server_command: Sequence[str] = ()
    django_databases: Mapping[str, Any] = Field(default_factory=dict)
    #: The whole environment of the app's process, secrets masked.
    app_environment: Mapping[str, str] = Field(default_factory=dict)


class CellRecord(Strict):
    """A cell as the matrix resolved it, kept in run.json so that a run can be read without its matrix."""

    id: str
    axes: Mapping[str, Any]
    params: Mapping[str, Any]
    reference: str | None
    predicted: Mapping[str, Any]


class SkippedRecord(Strict):
    id: str
    axes: Mapping[str, Any]
    reason: str


class HostRecord(Strict):
    """The machine, as far as it bears on figures."""

    fingerprint: str
    system: str
    kernel: str
    cpu: str
    cores: int
    memory_bytes: int


class DistanceRecord(Strict):
    """A round trip that was put between app and database: what was asked for and what a statement takes longer.

    Medians of `SELECT 1` on one session, straight to the server and over the distance. `by` says what delays.
    """

    by: Literal["relay"]
    asked_ms: float
    added_ms: float
    near_ms: float
    far_ms: float


class DatabaseRecord(Strict):
    """A database server: what it really was and how it was tuned; `unknown` is what could not be counted, in words."""

    name: str
    product: str
    settings: Mapping[str, str]
    unknown: str = ""
    distance: DistanceRecord | None = None
    #: Where it is on a host of its own (`hosts`): what a packet to it from the app's host takes with its answer.
    round_trip_ms: float | None = None


class RunRecord(Strict):
    """run.json: written before anything is started."""

    schema_version: int = SCHEMA_VERSION
    name: str
    started_at: str
    seed: int
    quick: bool
    blocks: int
    command: str
    #: The matrix file, and the part of its cells that was asked for.
    matrix_file: str = ""
    only: str | None = None
    #: The part of the plan that this run is, such as `2/4`; empty for the whole.
    shard: str = ""
    #: Whether `blocks` are the most that there may be, as the matrix has a range of them.
    adaptive: bool = False
    #: What had changed when the run was resumed all the same (`--force`).
    resumed_despite: Sequence[str] = ()
    matrix: Mapping[str, Any]
    matrix_hash: str
    cells: Sequence[CellRecord]
    skipped: Sequence[SkippedRecord]
    provider: str
    #: The one host, or what the `hosts` have in common that the blocks were spread over (`--scheduler`).
    host: HostRecord
    hosts: Sequence[HostRecord] = ()
    #: Program or package to version, the runner's own and each app environment's (`psycopg3/django`).
    versions: Mapping[str, str]


class RunEnd(Strict):
    """end.json: how the run went. Written last; a run without it was cut off."""

    schema_version: int = SCHEMA_VERSION
    status: Literal["finished", "interrupted", "stopped"]
    #: Why it was stopped, in words.
    finding: str = ""
    finished_at: str
    #: None where nobody was left to write it down.
    wall_seconds: float | None
    databases: Sequence[DatabaseRecord]
    #: Wall seconds by what they went to: set-up, bring-up, count, idle, windows, …
    time_spent: Mapping[str, float]
