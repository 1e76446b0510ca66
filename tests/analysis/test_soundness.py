"""A stack that fails its requests holds few connections and answers quickly: it must never look good."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from runner.analysis.model import CellSummary, Summary
from runner.analysis.soundness import MOST_FAILED, why_unsound
from runner.analysis.summary import summarise
from runner.report.html import write_report
from runner.report.tables import print_tables
from runner.results.schema import ErrorKind
from tests.synthetic import Model, models, write_run

BROKEN = "the pool was opened before the fork"


def cells() -> list[Model]:
    """A healthy cell, one that seems far better but fails requests, and one that fails none and cannot work."""
    healthy = models()[0]
    failing = replace(
        healthy,
        connection="persistent",
        rps=9 * healthy.rps,
        p50=0.1,
        peak=1,
        errors={"HTTP 500": ErrorKind(count=10**6, example="no such table")},
    )
    broken = replace(failing, connection="pooled", errors={}, prediction=replace(healthy.prediction, broken=BROKEN))
    return [healthy, failing, broken]


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    return summarise(write_run(tmp_path, cells()))


def test_it_wins_nothing(summary: Summary) -> None:
    healthy, failing, broken = summary.cells
    assert (failing.status, broken.status) == ("ok", "ok")
    assert len(summary.answers) == 3
    for answer in summary.answers:
        assert (answer.cell, answer.level_with, answer.unknown) == (healthy.id, [], [])


def test_the_reason_is_told(summary: Summary) -> None:
    healthy, failing, broken = (why_unsound(cell) for cell in summary.cells)
    assert healthy == ""
    assert "requests failed" in failing
    assert broken == BROKEN


def test_few_failures_are_no_verdict_on_the_stack(summary: Summary) -> None:
    cell = summary.cells[1]
    assert why_unsound(_with_failures(cell, MOST_FAILED * 0.9)) == ""
    assert "requests failed" in why_unsound(_with_failures(cell, MOST_FAILED * 1.2))


def _with_failures(cell: CellSummary, share: float) -> CellSummary:
    metrics = cell.metrics
    assert metrics is not None
    assert metrics.requests is not None
    assert metrics.errors.total is not None
    total = metrics.errors.total.model_copy(update={"high": share * metrics.requests.value})
    errors = metrics.errors.model_copy(update={"total": total})
    return cell.model_copy(update={"metrics": metrics.model_copy(update={"errors": errors})})


def test_tables_and_report_mark_it(tmp_path: Path) -> None:
    run = write_run(tmp_path, cells())
    summary, shown = summarise(run), StringIO()
    print_tables(summary, Console(file=shown, width=120))
    text = shown.getvalue()
    assert f"pg-sync-pooled is no choice, whatever its figures: {BROKEN}" in text
    assert "persistent broken" in text
    assert "pooled broken" in text
    assert "per-request broken" not in text
    assert "pg-sync-pooled broken" in text, "beside its reference too"
    page = write_report(run, summary).read_text()
    assert BROKEN in page
    assert page.count('<span class="bad-word">broken</span>') >= 2
