"""Folder to frames: every figure in its column, the last attempt of a block counts."""

import math
from pathlib import Path

from runner.analysis.frames import attempt_values, attempts_frame, latest_of_each_block, windows_frame
from runner.matrix.metrics import METRICS
from tests.synthetic import ROUNDS, command, models, phased, pooled, recovery, searched, write_run


def test_faults_add_up_and_the_slowest_recovery_counts(tmp_path: Path) -> None:
    record = write_run(tmp_path, models()[:1], blocks=1).attempts()[0][1]
    two = record.model_copy(update={"recovery": [recovery(3, 0.5), recovery(4, 2.5)], "commands": [command(0)] * 2})
    values = attempt_values(two)
    assert values["recovery.failed_requests"] == 7
    assert values["recovery.seconds_to_steady"] == 2.5
    assert values["commands.failed"] == 0
    never = attempt_values(record.model_copy(update={"recovery": [recovery(3, None), recovery(4)]}))
    assert never["recovery.seconds_to_steady"] is None
    assert "commands.failed" not in never


def test_every_metric_that_can_be_bounded_has_a_column_with_figures(tmp_path: Path) -> None:
    folder = write_run(tmp_path, pooled(phased(searched(models()[:1]))), blocks=1)
    frame = attempts_frame([record for _, record in folder.attempts()])
    assert set(METRICS) <= set(frame.columns)
    assert not frame[list(METRICS)].isna().any().any()


def test_windows_count_successes_apart_from_answers(tmp_path: Path) -> None:
    record = write_run(tmp_path, models()[:1], blocks=1).attempts()[0][1]
    first = record.windows[0].model_copy(update={"errors": 3})
    frame = windows_frame([record.model_copy(update={"windows": [first, *record.windows[1:]]})])
    assert len(frame) == ROUNDS
    assert frame["successes"][0] == frame["requests"][0] - 3
    assert frame["p50"][0] == first.latency_ms.p50


def test_the_last_attempt_of_a_block_counts(tmp_path: Path) -> None:
    record = write_run(tmp_path, models()[:1], blocks=1).attempts()[0][1]
    again = record.model_copy(update={"attempt": 1})
    assert latest_of_each_block([again, record]) == [again]


def test_no_attempts_make_empty_frames_with_their_columns() -> None:
    assert list(attempts_frame([])["throughput_rps"]) == []
    assert list(windows_frame([])["cpu_app"]) == []


def test_what_was_not_measured_is_nan(tmp_path: Path) -> None:
    record = write_run(tmp_path, models()[:1], blocks=1).attempts()[0][1]
    bare = record.model_copy(update={"connections": None, "latency_ms": None, "resources": {}})
    row = attempts_frame([bare]).iloc[0]
    assert all(math.isnan(row[name]) for name in ("connections.peak", "latency_ms.p95"))
    assert math.isnan(row["resources.app.peak_memory_bytes"])
