"""summary.json as typed models: what a run showed, derived from its folder and made again at any time.

Counts are counts, `…_ms` milliseconds, `…_rps` requests per second, `…_bytes` bytes, `…_seconds` seconds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from runner.matrix.cells import Prediction
from runner.models import Strict
from runner.results.schema import SCHEMA_VERSION, DatabaseRecord, ErrorKind, HostRecord, Status


class Number(Strict):
    """One figure of a cell over its blocks: median, smallest and largest, and of how many blocks."""

    value: float
    low: float
    high: float
    n: int


class Errors(Strict):
    """Failed requests of an attempt, from cold start to last window; kinds add up over all attempts."""

    total: Number | None = None
    by_kind: Mapping[str, ErrorKind] = Field(default_factory=dict)


class LatencyNumbers(Strict):
    p50: Number | None = None
    p90: Number | None = None
    p95: Number | None = None
    p99: Number | None = None
    max: Number | None = None


class ConnectionNumbers(Strict):
    """`as_predicted` holds when every block does as predicted; None where no block could tell."""

    peak: Number | None = None
    peak_slots: Number | None = None
    opened: Number | None = None
    opened_per_request: Number | None = None
    refused: Number | None = None
    lingering: Number | None = None
    predicted: Prediction
    as_predicted: bool | None = None
    prediction_note: str = ""


class ComponentNumbers(Strict):
    cpu_seconds_per_request: Number | None = None
    peak_memory_bytes: Number | None = None


class CellMetrics(Strict):
    requests: Number | None = None
    throughput_rps: Number | None = None
    errors: Errors = Errors()
    latency_ms: LatencyNumbers = LatencyNumbers()
    connections: ConnectionNumbers
    resources: Mapping[str, ComponentNumbers] = Field(default_factory=dict)


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


class Ratio(Strict):
    """A cell beside its reference in one metric, compared inside blocks.

    `value`, `low` and `high` are ratios (cell / reference); `low` and `high` the 95 % t interval, None with
    one block. `distinguishable` is None where there is no interval. `detectable` is the smallest relative
    difference that this comparison would have found four times out of five (0.06 is 6 %).
    """

    cell: str
    reference: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    distinguishable: bool | None
    detectable: float | None
    text: str
    reason: str = ""


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

    `level_with` names the cells that cannot be told from it, `unknown` those with too little measured to say.
    """

    database: str
    metric: str
    cell: str
    value: float
    level_with: Sequence[str]
    unknown: Sequence[str]


class RunSummary(Strict):
    """`time_spent`: wall seconds by what they went to. `finished_at` None: the run was cut off."""

    name: str
    folder: str
    started_at: str
    finished_at: str | None
    finished: bool
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
