"""What the page shows, as plain records: the summary, and of each attempt what the summary leaves out."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pprint import pformat

from runner.analysis.frames import latest_of_each_block
from runner.analysis.model import Answer, CellSummary, ExpectationResult, Ratio, Summary
from runner.report.chart import Chart, draw, nice_top, tallest
from runner.report.comparison import ratio_titles
from runner.report.waterfall import Bar, bars
from runner.report.wording import best_cells, database_of, product_of
from runner.results.schema import AttemptRecord
from runner.results.store import read_frame

#: A predicted bound may stretch a database's scale this far above what was seen; above it, it is only named.
_ROOM_FOR_BOUND = 1.5


@dataclass(frozen=True)
class CellView:
    """`anchor` is ours: a cell's id may hold anything. `shown` is the attempt whose connections are drawn."""

    anchor: str
    summary: CellSummary
    attempts: Sequence[AttemptRecord]
    shown: AttemptRecord | None
    chart: Chart | None
    ratios: Mapping[str, Ratio]
    #: Share of the database's highest throughput, 0 to 1.
    speed: float
    #: Where a request's time goes; None where the app did not say.
    time: Bar | None

    @property
    def command(self) -> str:
        return shlex.join(self.shown.server_command) if self.shown else ""

    @property
    def databases(self) -> str:
        """The DATABASES block as Python would take it."""
        if self.shown is None or not self.shown.django_databases:
            return ""
        return f"DATABASES = {pformat(dict(self.shown.django_databases), sort_dicts=False, width=88)}"


@dataclass(frozen=True)
class DatabaseView:
    name: str
    product: str
    cells: Sequence[CellView]
    answers: Sequence[Answer]


@dataclass(frozen=True)
class Page:
    summary: Summary
    databases: Sequence[DatabaseView]
    skipped: Sequence[CellSummary]
    failed: Sequence[CellView]
    surprising: Sequence[CellView]
    broken: Sequence[ExpectationResult]
    best: Mapping[str, frozenset[str]]
    anchors: Mapping[str, str]
    #: Metrics in which cells were compared, with their titles.
    ratio_titles: Mapping[str, str]


def build_page(summary: Summary, attempts: Sequence[tuple[Path, AttemptRecord]]) -> Page:
    """Everything in the order of the matrix. Samples are read of one attempt a cell, the first that is ok."""
    anchors = {cell.id: f"cell-{number}" for number, cell in enumerate(summary.cells, 1)}
    paths = {(record.cell, record.block, record.attempt): path for path, record in attempts}
    records = latest_of_each_block([record for _, record in attempts])
    groups: dict[str, list[CellSummary]] = {}
    for cell in summary.cells:
        if cell.status != "skipped":
            groups.setdefault(database_of(cell), []).append(cell)
    databases = [
        DatabaseView(
            name,
            product_of(summary, name),
            _views(summary, cells, records, paths, anchors),
            [answer for answer in summary.answers if answer.database == name],
        )
        for name, cells in groups.items()
    ]
    views = [view for database in databases for view in database.cells]
    return Page(
        summary=summary,
        databases=databases,
        skipped=[cell for cell in summary.cells if cell.status == "skipped"],
        failed=[view for view in views if view.summary.status != "ok"],
        surprising=[view for view in views if _surprises(view.summary)],
        broken=[result for result in summary.expectations if not result.holds],
        best=best_cells(summary),
        anchors=anchors,
        ratio_titles=ratio_titles(summary.ratios),
    )


def _views(
    summary: Summary,
    cells: Sequence[CellSummary],
    records: Sequence[AttemptRecord],
    paths: Mapping[tuple[str, int, int], Path],
    anchors: Mapping[str, str],
) -> list[CellView]:
    """The cells of one database, their charts on one scale."""
    own = {cell.id: [record for record in records if record.cell == cell.id] for cell in cells}
    shown = {cell.id: _first_to_show(own[cell.id]) for cell in cells}
    samples = {
        name: read_frame(paths[record.cell, record.block, record.attempt] / "samples.parquet")
        for name, record in shown.items()
        if record is not None
    }
    seen = max((tallest(samples[name], record.phases) for name, record in shown.items() if record), default=0)
    bounds = {cell.id: cell.metrics.connections.predicted.max for cell in cells if cell.metrics}
    drawable = [bound for bound in bounds.values() if bound is not None and bound <= seen * _ROOM_FOR_BOUND]
    top = nice_top(max([seen, *drawable]))
    times = bars(cells)
    highest = max((_rate(cell) for cell in cells), default=0.0)
    return [
        CellView(
            anchor=anchors[cell.id],
            summary=cell,
            attempts=own[cell.id],
            shown=record,
            chart=draw(samples[cell.id], record.phases, top, bounds.get(cell.id)) if record else None,
            ratios={ratio.metric: ratio for ratio in summary.ratios if ratio.cell == cell.id},
            speed=_rate(cell) / highest if highest else 0.0,
            time=times.get(cell.id),
        )
        for cell, record in ((cell, shown[cell.id]) for cell in cells)
    ]


def _first_to_show(records: Sequence[AttemptRecord]) -> AttemptRecord | None:
    ok = [record for record in records if record.verdict.status == "ok"]
    return next(iter(ok or records), None)


def _rate(cell: CellSummary) -> float:
    rate = cell.metrics.throughput_rps if cell.metrics else None
    return rate.value if rate else 0.0


def _surprises(cell: CellSummary) -> bool:
    return cell.metrics is not None and cell.metrics.connections.as_predicted is False
