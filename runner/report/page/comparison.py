"""The heat map of ratios to the reference, and the forest plot of their intervals: one row a cell or server."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from runner.analysis.model import Ratio
from runner.report.page.data import Cell, Database, RunData
from runner.report.page.scales import Log, log_ticks
from runner.report.wording import NOTHING, per_request, three_digits, whole

#: Relative differences at which a shade begins: 5 %, 15 %, 40 %, a factor of 2.
SHADES = (1.05, 1.15, 1.4, 2.0)
FOREST_WIDTH, FOREST_HEIGHT = 320, 16


@dataclass(frozen=True)
class Metric:
    """A figure of the heat map. `unit` belongs to it times `factor`; `more` says that more of it is better."""

    path: str
    title: str
    unit: str
    more: bool = False
    factor: float = 1.0
    show: str = "three"

    @property
    def slug(self) -> str:
        return self.path.replace(".", "-").replace("_", "-")

    def text(self, value: float | None) -> str:
        scaled = None if value is None else value * self.factor
        return {"three": three_digits, "whole": whole, "per request": per_request}[self.show](scaled)


METRICS = (
    Metric("throughput_rps", "Throughput", "requests/s", more=True),
    Metric("capacity_rps", "Capacity", "requests/s", more=True),
    Metric("latency_ms.p50", "p50", "ms"),
    Metric("latency_ms.p95", "p95", "ms"),
    Metric("latency_ms.p99", "p99", "ms"),
    Metric("service_ms.p95", "Service p95", "ms"),
    Metric("connections.opened_per_request", "Opened per request", "connections", show="per request"),
    Metric("connections.peak", "Peak", "connections", show="whole"),
    Metric("connections.client.peak", "Client peak", "clients of the pooler", show="whole"),
    Metric("resources.app.cpu_seconds_per_request", "CPU per request", "ms, app", factor=1e3),
    Metric("resources.app.peak_memory_bytes", "Memory", "MB, app's peak", factor=1e-6),
)


@dataclass(frozen=True)
class Tile:
    """One field of the heat map. `shade` is -4 (far worse) … 4 (far better); None where there is no ratio.

    `is_settled` says that the ratio is told apart from 1, or is one of exact counts.
    """

    cell: Cell | None
    text: str
    value: str
    shade: int | None
    is_settled: bool


@dataclass(frozen=True)
class HeatMap:
    database: Database
    metric: Metric
    rows: Sequence[tuple[str, Sequence[Tile]]]


@dataclass(frozen=True)
class ForestRow:
    """Places on the shared axis; `kind` is better, worse, level or unknown."""

    cell: Cell
    ratio: Ratio
    x: float
    low: float | None
    high: float | None
    kind: str
    text: str


@dataclass(frozen=True)
class Forest:
    database: Database
    metric: Metric
    rows: Sequence[ForestRow]
    ticks: Sequence[tuple[float, str]]
    one: float


@dataclass(frozen=True)
class ComparisonSection:
    """`metrics` are those that any cell has; the first is shown before the reader chooses.

    `has_intervals` is false of a run of one block.
    """

    metrics: Sequence[Metric]
    heat_maps: Sequence[HeatMap]
    forest_metrics: Sequence[Metric]
    forests: Sequence[Forest]
    has_intervals: bool


def comparison_section(data: RunData) -> ComparisonSection:
    """A heat map for each database and metric, a forest plot for each of those with intervals."""
    metrics = [metric for metric in METRICS if any(cell.number_of(metric.path) for cell in data.cells)]
    judged = {ratio.metric for ratio in data.summary.ratios}
    forest_metrics = [metric for metric in METRICS if metric.path in judged]
    forests = [_forest(database, metric) for metric in forest_metrics for database in data.databases]
    return ComparisonSection(
        metrics=metrics,
        heat_maps=[_heat_map(database, metric) for metric in metrics for database in data.databases],
        forest_metrics=forest_metrics,
        forests=[forest for forest in forests if forest.rows],
        has_intervals=any(ratio.low is not None for ratio in data.summary.ratios),
    )


def _heat_map(database: Database, metric: Metric) -> HeatMap:
    cells = {(cell.server, cell.setting): cell for cell in database.cells}
    by_id = {cell.id: cell for cell in database.cells}
    rows = [
        (server, [_tile(cells.get((server, setting)), by_id, metric) for setting in database.settings])
        for server in database.servers
    ]
    return HeatMap(database, metric, rows)


def _tile(cell: Cell | None, by_id: dict[str, Cell], metric: Metric) -> Tile:
    if cell is None:
        return Tile(None, "", "", None, is_settled=False)
    number = cell.number_of(metric.path)
    if number is None:
        status = cell.summary.status
        return Tile(cell, status if status != "ok" else NOTHING, "", None, is_settled=False)
    ratio, is_settled = _ratio(cell, number.value, by_id, metric)
    if ratio is None:
        return Tile(cell, NOTHING, metric.text(number.value), None, is_settled=False)
    return Tile(cell, times(ratio), metric.text(number.value), shade(ratio, metric), is_settled)


def _ratio(cell: Cell, value: float, by_id: dict[str, Cell], metric: Metric) -> tuple[float | None, bool]:
    """The ratio to the reference, and whether it is settled: judged over blocks, or of exact counts."""
    if cell.is_reference:
        return 1.0, True
    if metric.path in cell.ratios:
        judged = cell.ratios[metric.path]
        return judged.value, judged.verdict == "distinguishable"
    reference = by_id.get(cell.summary.reference or "")
    base = reference.number_of(metric.path) if reference else None
    if base is None or base.value <= 0:
        return None, False
    return value / base.value, metric.path.startswith("connections.")


def times(ratio: float) -> str:
    """`1.84×`, `0.250×`; a ratio of nothing is `0×`."""
    return "1×" if ratio == 1 else f"{three_digits(ratio)}×"


def shade(ratio: float, metric: Metric) -> int:
    """-4 … 4, by how far a ratio is from 1, and in which direction that is better."""
    if ratio <= 0:
        return -len(SHADES) if metric.more else len(SHADES)
    steps = sum(max(ratio, 1 / ratio) >= border for border in SHADES)
    return steps if (ratio > 1) == metric.more else -steps


def _forest(database: Database, metric: Metric) -> Forest:
    found = [(cell, cell.ratios[metric.path]) for cell in database.cells if metric.path in cell.ratios]
    drawn = [(cell, ratio, ratio.value) for cell, ratio in found if ratio.value is not None]
    if not drawn:
        return Forest(database, metric, [], [], 0)
    bounds = [bound for _, ratio, value in drawn for bound in (ratio.low, ratio.high, value) if bound]
    # An interval of two blocks may span a thousandfold: the axis keeps to where the ratios themselves are.
    values = [value for _, _, value in drawn]
    low = max(min([*bounds, 0.95]), min([*values, 1]) / 2) * 0.97
    high = min(max([*bounds, 1.05]), max([*values, 1]) * 2) * 1.03
    scale = Log(low, high, 8, FOREST_WIDTH - 8)
    rows = [
        ForestRow(
            cell=cell,
            ratio=ratio,
            x=scale(value),
            low=None if ratio.low is None else scale(ratio.low),
            high=None if ratio.high is None else scale(ratio.high),
            kind=_kind(ratio, metric),
            text=times(value) if ratio.verdict == "no interval" else ratio.text,
        )
        for cell, ratio, value in drawn
    ]
    return Forest(database, metric, rows, _ratio_ticks(scale), scale(1))


def _kind(ratio: Ratio, metric: Metric) -> str:
    if ratio.verdict == "no interval":
        return "unknown"
    if ratio.verdict != "distinguishable" or ratio.value is None:
        return "level"
    return "better" if (ratio.value > 1) == metric.more else "worse"


def _ratio_ticks(scale: Log) -> list[tuple[float, str]]:
    """Marks at round ratios, 1 always among them, none so near another that their texts meet."""
    candidates = log_ticks(scale.low, scale.high)
    if math.log(scale.high / scale.low) < math.log(2.5):
        candidates += [step / 10 for step in range(4, 25) if scale.low <= step / 10 <= scale.high]
    kept = [1.0]
    for tick in sorted(candidates, key=lambda tick: abs(math.log(tick))):
        if all(abs(scale(tick) - scale(other)) >= 34 for other in kept):
            kept.append(tick)
    return [(scale(tick), f"{tick:g}×") for tick in sorted(kept)]
