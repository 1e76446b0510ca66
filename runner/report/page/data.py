"""What every section of the page is made of: the summary's cells with their attempts, by database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from runner.analysis.frames import latest_of_each_block
from runner.analysis.model import Answer, CellSummary, Number, Ratio, Summary
from runner.analysis.soundness import why_unsound
from runner.report.wording import database_of, figure, product_of, server_of, setting_of
from runner.results.schema import AttemptRecord


@dataclass(frozen=True)
class Cell:
    """`number` counts from 1 through the run and names the cell in the page: its id may hold anything.

    `shown` is the attempt whose course is drawn, the first that is ok; `folders` holds each attempt's, by block.
    `is_reference` says that others are held against it.
    """

    number: int
    summary: CellSummary
    attempts: Sequence[AttemptRecord]
    shown: AttemptRecord | None
    folders: Mapping[int, Path]
    ratios: Mapping[str, Ratio]
    is_reference: bool

    @property
    def id(self) -> str:
        return self.summary.id

    @property
    def anchor(self) -> str:
        return f"cell-{self.number}"

    @property
    def server(self) -> str:
        return server_of(self.summary)

    @property
    def setting(self) -> str:
        return setting_of(self.summary) or self.id

    @property
    def label(self) -> str:
        """How the cell is called under its database: `uwsgi · persistent`."""
        return " · ".join(part for part in (self.server, self.setting) if part)

    @property
    def is_unsound(self) -> bool:
        """Whether nobody should choose it, whatever its figures."""
        return bool(why_unsound(self.summary))

    def number_of(self, path: str) -> Number | None:
        """A figure by the dotted name that summary.json gives it."""
        return figure(self.summary, path)


@dataclass(frozen=True)
class Database:
    """`max_connections` is what the server was set to; None where the run never got to start it."""

    number: int
    name: str
    product: str
    cells: Sequence[Cell]
    answers: Mapping[str, Answer]
    max_connections: int | None

    @cached_property
    def servers(self) -> list[str]:
        return list(dict.fromkeys(cell.server for cell in self.cells))

    @cached_property
    def settings(self) -> list[str]:
        return list(dict.fromkeys(cell.setting for cell in self.cells))


@dataclass(frozen=True)
class RunData:
    """A run, ready for the sections; everything in the order of the matrix."""

    folder: Path
    summary: Summary
    databases: Sequence[Database]
    skipped: Sequence[CellSummary]

    @property
    def cells(self) -> list[Cell]:
        return [cell for database in self.databases for cell in database.cells]

    @property
    def by_id(self) -> dict[str, Cell]:
        return {cell.id: cell for cell in self.cells}


def run_data(folder: Path, summary: Summary, attempts: Sequence[tuple[Path, AttemptRecord]]) -> RunData:
    """Puts each cell's attempts, ratios and folders beside it."""
    paths = {(record.cell, record.block, record.attempt): path for path, record in attempts}
    own: dict[str, list[AttemptRecord]] = {}
    for record in latest_of_each_block([record for _, record in attempts]):
        own.setdefault(record.cell, []).append(record)
    ratios: dict[str, dict[str, Ratio]] = {}
    for ratio in summary.ratios:
        ratios.setdefault(ratio.cell, {})[ratio.metric] = ratio
    groups: dict[str, list[Cell]] = {}
    measured = [cell for cell in summary.cells if cell.status != "skipped"]
    references = {cell.reference for cell in measured}
    for number, cell in enumerate(measured, 1):
        records = own.get(cell.id, [])
        view = Cell(
            number=number,
            summary=cell,
            attempts=records,
            shown=_first_to_show(records),
            folders={record.block: paths[record.cell, record.block, record.attempt] for record in records},
            ratios=ratios.get(cell.id, {}),
            is_reference=cell.id in references,
        )
        groups.setdefault(database_of(cell), []).append(view)
    return RunData(
        folder=folder,
        summary=summary,
        databases=[
            Database(
                number=number,
                name=name,
                product=product_of(summary, name),
                cells=cells,
                answers={answer.metric: answer for answer in summary.answers if answer.database == name},
                max_connections=_max_connections(summary, name),
            )
            for number, (name, cells) in enumerate(groups.items(), 1)
        ],
        skipped=[cell for cell in summary.cells if cell.status == "skipped"],
    )


def _first_to_show(records: Sequence[AttemptRecord]) -> AttemptRecord | None:
    ok = [record for record in records if record.verdict.status == "ok"]
    return next(iter(ok or records), None)


def _max_connections(summary: Summary, database: str) -> int | None:
    settings = next(
        (record.settings for record in summary.run.databases if record.name.partition(".")[0] == database), {}
    )
    text = settings.get("max_connections", "")
    return int(text) if text.isdecimal() else None
