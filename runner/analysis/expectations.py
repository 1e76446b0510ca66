"""The matrix's bounds held against what was measured: the worst block decides."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from runner.analysis.model import ExpectationResult
from runner.matrix.axes import selects
from runner.results.schema import CellRecord


def evaluate(
    expect: Iterable[Mapping[str, Any]], cells: Sequence[CellRecord], attempts: pd.DataFrame
) -> list[ExpectationResult]:
    """`expect` as run.json's matrix holds it; `attempts` as `attempts_frame` makes it.

    Only attempts that are ok are held against a bound, except that a failed one's errors count.
    """
    by_cell = dict(iter(attempts.groupby("cell")))
    none = attempts.iloc[:0]
    return [
        _held(expectation, cell.id, by_cell.get(cell.id, none))
        for expectation in expect
        for cell in cells
        if selects(expectation.get("where") or {}, cell.axes)
    ]


def _held(expectation: Mapping[str, Any], cell: str, attempts: pd.DataFrame) -> ExpectationResult:
    metric = str(expectation["metric"])
    at_most, at_least = expectation.get("at_most"), expectation.get("at_least")
    counts = (attempts["status"] == "ok") | ((attempts["requests"] > 0) & metric.startswith("errors."))
    values = attempts.loc[counts, metric].dropna()
    bounds = [f"at most {at_most:g}"] if at_most is not None else []
    bounds += [f"at least {at_least:g}"] if at_least is not None else []
    bound = " and ".join(bounds)
    if values.empty:
        return ExpectationResult(
            cell=cell, metric=metric, bound=bound, measured=None, holds=False, reason="not measured"
        )
    low, high = float(values.min()), float(values.max())
    too_high = at_most is not None and high > at_most
    too_low = at_least is not None and low < at_least
    worst = low if too_low or at_most is None else high
    return ExpectationResult(cell=cell, metric=metric, bound=bound, measured=worst, holds=not too_high and not too_low)
