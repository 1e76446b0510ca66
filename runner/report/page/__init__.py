"""The page: one module a section. Each takes the run's data and hands back what its template shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.analysis.model import Summary
from runner.report.page.answer import AnswerSection, answer_section
from runner.report.page.cells import CellDetails, cells_section
from runner.report.page.comparison import ComparisonSection, comparison_section
from runner.report.page.connections import ConnectionsSection, connections_section
from runner.report.page.data import RunData, run_data
from runner.report.page.environment import EnvironmentSection, environment_section
from runner.report.page.latency import DatabaseLatency, latency_section
from runner.report.page.times import DatabaseTimes, times_section
from runner.report.wording import best_cells
from runner.results.schema import AttemptRecord

__all__ = ["Page", "build_page"]


@dataclass(frozen=True)
class Page:
    """A page's sections, in their order. `best` names the best cells by metric, for the table."""

    data: RunData
    answer: AnswerSection
    comparison: ComparisonSection
    connections: ConnectionsSection
    times: Sequence[DatabaseTimes]
    latency: Sequence[DatabaseLatency]
    cells: Sequence[CellDetails]
    environment: EnvironmentSection
    best: dict[str, frozenset[str]]


def build_page(
    folder: Path, summary: Summary, attempts: Sequence[tuple[Path, AttemptRecord]], *, with_raw: bool = True
) -> Page:
    """Every section, from a run's folder and its summary; `with_raw` links to the raw data beside the page."""
    data = run_data(folder, summary, attempts)
    return Page(
        data=data,
        answer=answer_section(data),
        comparison=comparison_section(data),
        connections=connections_section(data),
        times=times_section(data),
        latency=latency_section(data),
        cells=cells_section(data, with_raw=with_raw),
        environment=environment_section(data),
        best=best_cells(summary),
    )
