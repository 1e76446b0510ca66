"""summary.json as typed models: what a run showed, derived from its folder and made again at any time.

Counts are counts, `…_ms` milliseconds, `…_rps` requests per second, `…_bytes` bytes, `…_seconds` seconds.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from runner.matrix.cells import Prediction
from runner.models import Strict
from runner.results.schema import SCHEMA_VERSION, DatabaseRecord, ErrorKind, HostRecord, Status, Verdict

ComparisonVerdict = Literal["distinguishable", "not distinguishable", "underpowered", "no interval", "no ratio"]


class Number(Strict):
    """One figure of a cell over its blocks: median, smallest and largest, and of how many blocks."""

    value: float
    low: float
    high: float
    n: int


class Errors(Strict):
    """Failed requests of an attempt, from cold start to last window; kinds add up over all attempts."""

    total: Number | None = None
    #: Of all requests of the attempt, 0 to 1.
    share: Number | None = None
    by_kind: Mapping[str, ErrorKind] = Field(default_factory=dict)


class LatencyNumbers(Strict):
    p50: Number | None = None
    p90: Number | None = None
    p95: Number | None = None
    p99: Number | None = None
    max: Number | None = None


class ArrivalNumbers(Strict):
    """In the open model: requests that were due in the windows, those that left late, those that never left."""

    due: Number | None = None
    late: Number | None = None
    dropped: Number | None = None


class CapacityBracket(Strict):
    """The highest rate held under the service level, and the lowest above it that was missed, requests a second.

    `at_least`: in some block the most that was tried was held, so that the capacity may be higher.
    """

    held: Number
    failed: Number | None
    at_least: bool


class WaterfallNumbers(Strict):
    """Means over requests, as `runner.results.schema.Waterfall` explains them."""

    queue: Number | None = None
    pool: Number | None = None
    connect: Number | None = None
    sql: Number | None = None
    app: Number | None = None


class ClientNumbers(Strict):
    """The app's connections to its pooler, as `runner.results.schema.ClientConnections` explains them."""

    peak: Number | None = None
    opened: Number | None = None
    opened_per_request: Number | None = None
    refused: Number | None = None
    lingering: Number | None = None
    waiting_max: Number | None = None
    waited_seconds: Number | None = None


class ConnectionNumbers(Strict):
    """`as_predicted` holds when every block does as predicted; None where no block could tell."""

    peak: Number | None = None
    peak_slots: Number | None = None
    opened: Number | None = None
    opened_per_request: Number | None = None
    refused: Number | None = None
    lingering: Number | None = None
    #: In cells with a pooler; everything else here is the pooler's side to the database.
    client: ClientNumbers | None = None
    predicted: Prediction
    as_predicted: bool | None = None
    prediction_note: str = ""


class ComponentNumbers(Strict):
    cpu_seconds_per_request: Number | None = None
    peak_memory_bytes: Number | None = None


class FaultNumbers(Strict):
    """One fault of a cell's phases, the `position`th from 0, over blocks; see `runner.results.schema.Recovery`."""

    fault: str
    position: int
    seconds: Number | None = None
    requests: Number | None = None
    failed_requests: Number | None = None
    seconds_to_first_success: Number | None = None
    seconds_to_steady: Number | None = None


class RecoveryNumbers(Strict):
    """Of all faults of an attempt together: failed requests added up, seconds of the slowest recovery."""

    failed_requests: Number | None = None
    seconds_to_first_success: Number | None = None
    seconds_to_steady: Number | None = None
    faults: Sequence[FaultNumbers] = ()


class CommandSummary(Strict):
    """One command of a cell's phases: how many of its `runs` failed, and the last line of the first that did."""

    command: str
    beside: bool
    runs: int
    failed: int
    example: str


class CommandNumbers(Strict):
    """`failed`: commands of an attempt that ended with another exit code than 0."""

    failed: Number | None = None
    each: Sequence[CommandSummary] = ()


class CellMetrics(Strict):
    requests: Number | None = None
    throughput_rps: Number | None = None
    #: With `rate: search`: the highest rate that was held under the service level.
    capacity_rps: Number | None = None
    capacity: CapacityBracket | None = None
    errors: Errors = Errors()
    #: Response times; in the open model from when a request was due.
    latency_ms: LatencyNumbers = LatencyNumbers()
    #: In the open model: from when a request left.
    service_ms: LatencyNumbers | None = None
    arrivals: ArrivalNumbers | None = None
    waterfall_ms: WaterfallNumbers = WaterfallNumbers()
    connections: ConnectionNumbers
    resources: Mapping[str, ComponentNumbers] = Field(default_factory=dict)
    recovery: RecoveryNumbers = RecoveryNumbers()
    commands: CommandNumbers = CommandNumbers()


class Blocks(Strict):
    """Blocks that the run planned for a cell, those that ran, and those whose figures count."""

    planned: int
    run: int
    ok: int


class FlagSummary(Strict):
    """A flag of a cell and the blocks in which it was raised; the text is the first block's."""

    code: str
    text: str
    blocks: Sequence[int]


class CellSummary(Strict):
    """One cell. `metrics` is None for a skipped cell alone."""

    id: str
    status: Status
    reason: str
    axes: Mapping[str, Any]
    params: Mapping[str, Any] = Field(default_factory=dict)
    reference: str | None = None
    blocks: Blocks | None = None
    flags: Sequence[FlagSummary] = ()
    metrics: CellMetrics | None = None


class Judgement(Strict):
    """What a comparison over blocks came to, as one of a family: all comparisons of one metric in a run.

    `value` is a ratio; `low` and `high` its 95 % t interval, taken alone; all None where there is no such thing.
    `p` is the t test's, `p_adjusted` Holm's for a family of `family` comparisons. `verdict` is "distinguishable" by
    `p_adjusted`, so that at most one run in twenty names any difference where there is none. `detectable` is the
    smallest relative difference that would have been found four times out of five (0.06 is 6 %); "underpowered" says
    that finding none means nothing.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int
    p: float | None = None
    p_adjusted: float | None = None
    family: int = 0
    detectable: float | None = None
    verdict: ComparisonVerdict
    text: str
    reason: str = ""


class Ratio(Judgement):
    """A cell beside its reference in one metric, compared inside blocks: cell / reference.

    `sign_flip_p`: the exact sign-flip test's p value as a cross-check, from six blocks on.
    """

    cell: str
    reference: str
    metric: str
    sign_flip_p: float | None = None


class ExpectationResult(Strict):
    """One bound held against one cell; `measured` is the worst block's value, None where there is none."""

    cell: str
    metric: str
    bound: str
    measured: float | None
    holds: bool
    reason: str = ""


class Answer(Strict):
    """The best cell of a database in one metric.

    `level_with` names the cells that cannot be told from it, `unknown` those with too little measured to say. Of the
    cells that are compared, the truly best is among the best and those level with it in 19 runs of 20. `detectable` is
    the smallest relative difference from the best that every one of `level_with` would have shown.
    """

    database: str
    metric: str
    cell: str
    value: float
    level_with: Sequence[str]
    unknown: Sequence[str]
    blocks: int = 0
    detectable: float | None = None


class RunSummary(Strict):
    """`time_spent`: wall seconds by what they went to. `finished_at` None: the run was cut off."""

    name: str
    folder: str
    started_at: str
    finished_at: str | None
    finished: bool
    #: Why the run was stopped before its end, in words.
    finding: str = ""
    seed: int
    quick: bool
    blocks: int
    matrix_hash: str
    provider: str
    command: str
    host: HostRecord
    versions: Mapping[str, str]
    databases: Sequence[DatabaseRecord]
    wall_seconds: float | None
    measuring_seconds: float
    time_spent: Mapping[str, float]


class Summary(Strict):
    schema_version: int = SCHEMA_VERSION
    run: RunSummary
    cells: Sequence[CellSummary]
    answers: Sequence[Answer]
    ratios: Sequence[Ratio]
    expectations: Sequence[ExpectationResult]


class Difference(Strict):
    """Something that is not the same in two runs, and what it is in each; `cells` where it is a parameter of theirs."""

    field: str
    base: str
    new: str
    cells: Sequence[str] = ()


class Change(Judgement):
    """A cell in a run beside itself in an earlier one: `value` is new / base.

    `base` and `new` are the metric itself or, where `reference` is named, its ratio to that cell in the same run.
    """

    cell: str
    reference: str | None
    metric: str
    base: float | None
    new: float | None


class CountChange(Strict):
    """A count of connections in two runs; `changed` where the blocks' ranges do not overlap."""

    cell: str
    metric: str
    base: Number
    new: Number
    changed: bool


class RunComparison(Strict):
    """Two runs compared.

    `verdict` is ok or incomparable. `grave`: differences for which absolute figures do not compare; `differences`: what
    else is not the same.
    """

    base: str
    new: str
    ratios: bool
    verdict: Verdict
    grave: Sequence[Difference]
    differences: Sequence[Difference]
    only_in_base: Sequence[str]
    only_in_new: Sequence[str]
    changes: Sequence[Change] = ()
    counts: Sequence[CountChange] = ()
