"""site.json: what a site knows of the runs that it shows, so that a run whose folder is gone keeps its page."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from runner.analysis.decisions import is_underpowered
from runner.analysis.history import Night
from runner.analysis.model import Answer, Summary
from runner.models import Strict
from runner.report.wording import database_of, short_certainty
from runner.results.schema import SCHEMA_VERSION
from runner.results.store import read_json, write_json

NAME = "site.json"


class Best(Strict):
    """The best cell of a database in one metric, and how sure that is; `is_known`: enough was measured to say."""

    database: str
    metric: str
    cell: str
    value: float
    certainty: str
    is_known: bool
    level_with: int


class PublishedRun(Strict):
    """One run as the index lists it. `failed` counts cells, `broken` expectations."""

    folder: str
    name: str
    started_at: str
    finished: bool
    blocks: int
    host: str
    products: Mapping[str, str]
    cells: int
    failed: int
    broken: int
    expectations: int
    best: Sequence[Best]

    @property
    def verdict(self) -> str:
        """In a few words, for a badge: cells failed, expectations broken."""
        if not self.finished:
            return "cut off"
        wrong = [f"{self.failed} failed"] if self.failed else []
        wrong += [f"{self.broken} broken"] if self.broken else []
        return ", ".join(wrong) or "passing"


class Manifest(Strict):
    """Runs by when they started, the newest first; nights by date."""

    schema_version: int = SCHEMA_VERSION
    runs: Sequence[PublishedRun] = ()
    nights: Sequence[Night] = ()


def published(summary: Summary) -> PublishedRun:
    """What the site keeps of a run."""
    measured = [cell for cell in summary.cells if cell.status != "skipped"]
    databases = {database_of(cell) for cell in measured}
    return PublishedRun(
        folder=summary.run.folder,
        name=summary.run.name,
        started_at=summary.run.started_at,
        finished=summary.run.finished,
        blocks=summary.run.blocks,
        host=summary.run.host.cpu,
        products={r.name: r.product for r in summary.run.databases if r.name.partition(".")[0] in databases},
        cells=len(measured),
        failed=sum(cell.status != "ok" for cell in measured),
        broken=sum(not result.holds for result in summary.expectations),
        expectations=len(summary.expectations),
        best=[_best(answer) for answer in summary.answers],
    )


def _best(answer: Answer) -> Best:
    return Best(
        database=answer.database,
        metric=answer.metric,
        cell=answer.cell,
        value=answer.value,
        certainty=short_certainty(answer),
        is_known=not answer.unknown
        and (answer.detectable is None or not is_underpowered(answer.blocks, answer.detectable)),
        level_with=len(answer.level_with),
    )


def read_manifest(site: Path) -> Manifest:
    """The site's manifest; an empty one where there is no site yet."""
    path = site / NAME
    return read_json(path, Manifest) if path.exists() else Manifest()


def merged(manifest: Manifest, runs: Iterable[PublishedRun], nights: Iterable[Night]) -> Manifest:
    """The manifest with these in it: what is new replaces what it knew of the same run or night."""
    by_folder = {run.folder: run for run in (*manifest.runs, *runs)}
    by_date = {night.date: night for night in (*manifest.nights, *nights)}
    newest_first = sorted(by_folder.values(), key=lambda run: (run.started_at, run.folder), reverse=True)
    return Manifest(runs=newest_first, nights=[by_date[date] for date in sorted(by_date)])


def write_manifest(site: Path, manifest: Manifest) -> None:
    write_json(site / NAME, manifest)
