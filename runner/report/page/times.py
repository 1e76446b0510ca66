"""Where a request's time goes, as the numbers of stacked bars, which a template draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.analysis.model import CellSummary
from runner.report.page.data import Cell, Database, RunData
from runner.results.schema import Waterfall

#: In the order in which a request meets them.
PARTS = tuple(Waterfall.model_fields)
TITLES = {
    "queue": "Outside the app",
    "pool": "Pool",
    "connect": "Connecting",
    "sql": "SQL",
    "app": "The rest of the app",
}
WIDTH, HEIGHT = 280.0, 12.0


@dataclass(frozen=True)
class Segment:
    part: str
    x: float
    width: float


@dataclass(frozen=True)
class Bar:
    """`total` is the whole of a request, in milliseconds."""

    total: float
    segments: Sequence[Segment]


@dataclass(frozen=True)
class DatabaseTimes:
    """Each cell with its bar; None where the app said nothing."""

    database: Database
    rows: Sequence[tuple[Cell, Bar | None]]


def times_section(data: RunData) -> list[DatabaseTimes]:
    """The databases whose apps told where time went."""
    sections = []
    for database in data.databases:
        found = bars([cell.summary for cell in database.cells])
        if found:
            sections.append(DatabaseTimes(database, [(cell, found.get(cell.id)) for cell in database.cells]))
    return sections


def bars(cells: Sequence[CellSummary]) -> dict[str, Bar]:
    """A bar for each cell whose time was told apart, by its id, all on one scale."""
    times = {cell.id: times for cell in cells if (times := _times(cell))}
    longest = max((sum(each.values()) for each in times.values()), default=0.0)
    return {name: Bar(sum(each.values()), _segments(each, longest)) for name, each in times.items()}


def _times(cell: CellSummary) -> dict[str, float]:
    """Milliseconds by part; the parts that were not measured are left out."""
    numbers = cell.metrics.waterfall_ms if cell.metrics else None
    found = {part: getattr(numbers, part, None) for part in PARTS}
    return {part: max(number.value, 0.0) for part, number in found.items() if number is not None}


def _segments(times: Mapping[str, float], longest: float) -> list[Segment]:
    segments, x = [], 0.0
    for part, milliseconds in times.items():
        width = WIDTH * milliseconds / longest if longest else 0.0
        segments.append(Segment(part, round(x, 2), round(width, 2)))
        x += width
    return segments
