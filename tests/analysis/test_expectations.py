"""Bounds: the worst block decides, and what was not measured does not hold."""

import math
from typing import Any

import pandas as pd
import pytest

from runner.analysis.expectations import evaluate
from runner.analysis.frames import attempts_frame
from runner.matrix.metrics import METRICS
from runner.results.schema import CellRecord


def cell(name: str, **axes: Any) -> CellRecord:
    return CellRecord(id=name, axes=axes, params={}, reference=None, predicted={})


def attempts(*rows: dict[str, Any]) -> pd.DataFrame:
    whole = {**dict.fromkeys(METRICS, math.nan), "status": "ok", "requests": 100.0}
    columns = attempts_frame([]).columns
    return pd.DataFrame([{**whole, "block": number, **row} for number, row in enumerate(rows)], columns=columns)


PEAKS = attempts({"cell": "a", "connections.peak": 16.0}, {"cell": "a", "connections.peak": 18.0})


@pytest.mark.parametrize(
    ("bound", "measured", "holds", "words"),
    [
        ({"at_most": 18}, 18, True, "at most 18"),
        ({"at_most": 17}, 18, False, "at most 17"),
        ({"at_least": 16}, 16, True, "at least 16"),
        ({"at_least": 17}, 16, False, "at least 17"),
        ({"at_most": 20, "at_least": 17}, 16, False, "at most 20 and at least 17"),
        ({"at_most": 17, "at_least": 1}, 18, False, "at most 17 and at least 1"),
        ({"at_most": None, "at_least": 2.5}, 16, True, "at least 2.5"),
    ],
)
def test_the_worst_block_decides(bound: dict[str, float], measured: float, holds: bool, words: str) -> None:
    (result,) = evaluate([{"where": {}, "metric": "connections.peak", **bound}], [cell("a")], PEAKS)
    assert (result.measured, result.holds, result.bound) == (measured, holds, words)


def test_where_selects_by_axis_values() -> None:
    cells = [
        cell("a", server="uwsgi", users=1),
        cell("b", server="sync", users=1),
        cell("c", server="gevent"),
    ]
    expect = [
        {"where": {"server": "uwsgi"}, "metric": "requests", "at_least": 1},
        {"where": {"server": ["sync", "gevent"]}, "metric": "requests", "at_least": 1},
        {"where": {"users": 1}, "metric": "requests", "at_least": 1},
    ]
    results = evaluate(expect, cells, attempts(*({"cell": name} for name in "abc")))
    assert [result.cell for result in results] == ["a", "b", "c", "a", "b"]


def test_what_was_not_measured_does_not_hold() -> None:
    (result,) = evaluate([{"metric": "connections.peak", "at_most": 1}], [cell("nobody")], PEAKS)
    assert (result.measured, result.holds, result.reason) == (None, False, "not measured")


def test_attempts_that_are_not_ok_prove_nothing_but_their_errors_count() -> None:
    table = attempts(
        {"cell": "a", "status": "invalid", "connections.peak": 3.0, "errors.total": 7.0},
        {"cell": "a", "status": "failed", "requests": 0.0, "errors.total": 0.0},
    )
    expect = [{"metric": "connections.peak", "at_most": 9}, {"metric": "errors.total", "at_most": 0}]
    peak, errors = evaluate(expect, [cell("a")], table)
    assert (peak.measured, peak.holds) == (None, False)
    assert (errors.measured, errors.holds) == (7, False)


def test_an_attempt_that_sent_nothing_cannot_prove_that_nothing_fails() -> None:
    table = attempts({"cell": "a", "status": "failed", "requests": 0.0, "errors.total": 0.0})
    (result,) = evaluate([{"metric": "errors.total", "at_most": 0}], [cell("a")], table)
    assert not result.holds
