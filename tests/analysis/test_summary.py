"""A run's folder reduced to its summary."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from runner.analysis.model import Number, Summary
from runner.analysis.numbers import number
from runner.analysis.ratios import RATIO_METRICS
from runner.analysis.summary import combined_status, summarise, write_summary
from runner.matrix.metrics import METRICS
from runner.report.phase_lines import phase_lines
from runner.results.schema import AttemptRecord, ErrorKind, Flag, Status, Verdict
from runner.results.store import RunFolder, read_json
from tests.synthetic import Model, models, phased, pooled, searched, showcase, write_run


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return summarise(showcase(tmp_path_factory.mktemp("runs")))


def altered(model: Model, **changes: Any) -> Model:
    return dataclasses.replace(model, **changes)


def attempt(block: int, status: Status, reason: str = "") -> AttemptRecord:
    return AttemptRecord(
        cell="a",
        block=block,
        attempt=0,
        group="g",
        verdict=Verdict(status=status, reason=reason),
        started_at="",
        clock_zero=0,
    )


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([("ok", ""), ("ok", "")], ("ok", "")),
        ([("ok", ""), ("failed", "no answer")], ("failed", "no answer (block 1)")),
        ([("failed", "x"), ("failed", "x")], ("failed", "x")),
        ([("failed", "x"), ("failed", "y"), ("failed", "x")], ("failed", "x (blocks 0, 2); y (block 1)")),
        ([("invalid", "counts"), ("failed", "x"), ("ok", "")], ("failed", "x (block 1)")),
        ([("ok", ""), ("invalid", "counts")], ("invalid", "counts (block 1)")),
    ],
)
def test_the_worst_block_names_the_status(verdicts: Sequence[tuple[Status, str]], expected: tuple[str, str]) -> None:
    records = [attempt(block, status, reason) for block, (status, reason) in enumerate(verdicts)]
    assert combined_status(records, interrupted=False) == expected


def test_a_cell_that_never_ran_says_why() -> None:
    assert combined_status([], interrupted=True) == ("failed", "not run: the run was interrupted")
    assert combined_status([], interrupted=False) == ("failed", "not run: no attempt was recorded")


def test_a_number_is_median_smallest_largest_and_how_many() -> None:
    assert number(pd.Series([4.0, 1.0, float("nan"), 9.0])) == Number(value=4, low=1, high=9, n=3)
    assert number(pd.Series([float("nan")])) is None


def test_every_metric_that_can_be_bounded_is_a_number_in_the_file(tmp_path: Path) -> None:
    folder = write_run(tmp_path, pooled(phased(searched(models()[:1]))))
    write_summary(folder)
    metrics = json.loads((folder.path / "summary.json").read_text("utf-8"))["cells"][0]["metrics"]
    for name in METRICS:
        found = metrics
        for part in name.split("."):
            found = found[part]
        assert set(found) == {"value", "low", "high", "n"}, name
        assert found["n"] == 3


def test_faults_and_commands_are_told_one_by_one(tmp_path: Path) -> None:
    summary = summarise(write_run(tmp_path, phased(models()[:1])))
    metrics = summary.cells[0].metrics
    assert metrics is not None
    (fault,), (command,) = metrics.recovery.faults, metrics.commands.each
    assert (fault.fault, fault.failed_requests) == ("kill-connections", Number(value=3, low=3, high=3, n=3))
    assert (command.runs, command.failed, command.example) == (3, 3, "OperationalError: gone")
    name = summary.cells[0].id
    assert phase_lines(summary) == [
        (
            f"{name}: kill-connections (0.100 s): 3 of 100 requests failed, "
            "first success after 0.200 s, steady after 1.00 s"
        ),
        f"{name}: manage.py work: failed in 3 of 3 runs: OperationalError: gone",
    ]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    folder = showcase(tmp_path)
    written = write_summary(folder)
    read = read_json(folder.path / "summary.json", Summary)
    assert read.model_dump(mode="json") == written.model_dump(mode="json")


def test_figures_come_from_ok_attempts_alone_but_errors_from_all(tmp_path: Path) -> None:
    broken = altered(
        models()[0],
        verdicts={2: Verdict(status="invalid", reason="counts disagree")},
        errors={"timeout": ErrorKind(count=5, example="after 10 s")},
    )
    (cell,) = summarise(write_run(tmp_path, [broken])).cells
    assert (cell.status, cell.reason) == ("invalid", "counts disagree (block 2)")
    assert cell.blocks is not None
    assert (cell.blocks.planned, cell.blocks.run, cell.blocks.ok) == (3, 3, 2)
    assert cell.metrics is not None
    assert cell.metrics.throughput_rps is not None
    assert cell.metrics.throughput_rps.n == 2
    assert cell.metrics.errors.total == Number(value=5, low=5, high=5, n=3)
    assert cell.metrics.errors.by_kind["timeout"].count == 15


def test_skipped_cells_carry_their_reason_and_no_figures(shown: Summary) -> None:
    skipped = [cell for cell in shown.cells if cell.status == "skipped"]
    assert len(skipped) == 3
    assert all("native pool" in cell.reason and cell.metrics is None for cell in skipped)


def test_the_prediction_must_hold_in_every_block(shown: Summary) -> None:
    cells = {cell.id: cell for cell in shown.cells}
    good, bad = (cells[name].metrics for name in ("pg-sync-persistent", "pg-uwsgi-pooled"))
    assert good is not None
    assert bad is not None
    assert (good.connections.as_predicted, good.connections.prediction_note) == (True, "")
    assert bad.connections.as_predicted is False
    assert bad.connections.prediction_note.startswith("peak 18 is above 16")
    assert "blocks 1, 2, 3" in bad.connections.prediction_note


def test_a_failed_attempt_without_counts_leaves_the_prediction_open(tmp_path: Path) -> None:
    down = altered(models()[0], verdicts={1: Verdict(status="failed", reason="did not come up")})
    (cell,) = summarise(write_run(tmp_path, [down], blocks=1)).cells
    assert cell.metrics is not None
    assert cell.metrics.connections.as_predicted is None
    assert cell.metrics.connections.predicted.max == 4
    assert cell.metrics.throughput_rps is None


def test_flags_name_their_blocks(tmp_path: Path) -> None:
    flagged = altered(models()[0], flags=(Flag(code="sampler-late", text="7 % late"),))
    (cell,) = summarise(write_run(tmp_path, [flagged], blocks=2)).cells
    assert [(flag.code, list(flag.blocks)) for flag in cell.flags] == [("sampler-late", [1, 2])]


def test_time_adds_up(shown: Summary) -> None:
    run = shown.run
    spent = run.time_spent
    assert run.measuring_seconds == pytest.approx(spent["count"] + spent["idle"] + spent["windows"])
    assert run.wall_seconds is not None
    assert run.wall_seconds > sum(spent.values())


def test_a_run_that_was_cut_off_is_summarised_from_what_there_is(tmp_path: Path) -> None:
    folder = write_run(tmp_path, models()[:2], blocks=1, end=None)
    record = folder.run()
    never = record.cells[0].model_copy(update={"id": "pg-never-ran"})
    (folder.path / "run.json").write_text(
        record.model_copy(update={"cells": [*record.cells, never]}).model_dump_json(), "utf-8"
    )
    summary = summarise(folder)
    assert (summary.run.finished, summary.run.wall_seconds, summary.run.finished_at) == (False, None, None)
    assert summary.run.measuring_seconds == pytest.approx(2 * (2 + 2 + 5 * 0.75))
    assert summary.cells[2].reason == "not run: the run was interrupted"


def test_the_answer_names_the_best_and_what_is_level_with_it(shown: Summary) -> None:
    answers = {(answer.database, answer.metric): answer for answer in shown.answers}
    fastest = answers["pg", "throughput_rps"]
    assert fastest.cell in ("pg-uwsgi-persistent", "pg-uwsgi-forever")
    assert {"pg-uwsgi-persistent", "pg-uwsgi-forever"} <= {fastest.cell, *fastest.level_with}
    assert "pg-sync-per-request" not in fastest.level_with
    fewest = answers["pg", "connections.peak"]
    assert fewest.value == 4
    assert {fewest.cell, *fewest.level_with} == {
        f"pg-sync-{setting}" for setting in ("per-request", "persistent", "forever", "pooled")
    }


def test_a_cell_with_failed_requests_is_never_the_answer(tmp_path: Path) -> None:
    slow, fast = models()[0], models()[1]
    fast = altered(fast, rps=9999.0, errors={"http-500": ErrorKind(count=1, example="")})
    found = summarise(write_run(tmp_path, [slow, fast])).answers
    assert {answer.cell for answer in found} == {slow.id}


def test_one_block_leaves_the_answer_uncertain(tmp_path: Path) -> None:
    found = summarise(write_run(tmp_path, models()[:3], blocks=1)).answers
    assert all(len(answer.unknown) == 2 for answer in found if answer.metric != "connections.peak")


def test_nothing_is_changed_by_looking(tmp_path: Path) -> None:
    folder = write_run(tmp_path, models()[:2], blocks=1)
    before = sorted(folder.path.rglob("*"))
    summarise(RunFolder(folder.path))
    assert sorted(folder.path.rglob("*")) == before


def test_an_open_load_has_service_times_arrivals_and_a_capacity_with_its_bracket(tmp_path: Path) -> None:
    (cell,) = summarise(write_run(tmp_path, searched(models()[:1], 300.0))).cells
    metrics = cell.metrics
    assert metrics is not None
    assert metrics.service_ms is not None
    assert metrics.service_ms.p95 is not None
    assert metrics.latency_ms.p95 is not None
    assert metrics.service_ms.p95.value < metrics.latency_ms.p95.value
    assert metrics.arrivals is not None
    assert metrics.arrivals.late == Number(value=7, low=7, high=7, n=3)
    assert metrics.capacity_rps == Number(value=300, low=300, high=300, n=3)
    assert metrics.capacity is not None
    assert metrics.capacity.failed == Number(value=315, low=315, high=315, n=3)
    assert not metrics.capacity.at_least


def test_a_capacity_that_nothing_bounds_is_at_least_that(tmp_path: Path) -> None:
    (cell,) = summarise(write_run(tmp_path, searched(models()[:1], 300.0, failed={2: None}))).cells
    assert cell.metrics is not None
    assert cell.metrics.capacity is not None
    assert cell.metrics.capacity.at_least
    assert cell.metrics.capacity.failed is not None
    assert cell.metrics.capacity.failed.n == 2


def test_a_closed_load_has_none_of_it(shown: Summary) -> None:
    for cell in shown.cells:
        if cell.metrics is not None:
            metrics = cell.metrics
            assert (metrics.service_ms, metrics.arrivals, metrics.capacity_rps, metrics.capacity) == (None,) * 4
    assert {ratio.metric for ratio in shown.ratios} == set(RATIO_METRICS)
