"""A figure of several blocks as one."""

from typing import TYPE_CHECKING

from runner.analysis.model import Number

if TYPE_CHECKING:
    import pandas as pd


def number(values: "pd.Series[float]") -> Number | None:
    """Median, smallest, largest and how many; None where nothing was measured."""
    known = values.dropna()
    if known.empty:
        return None
    return Number(value=float(known.median()), low=float(known.min()), high=float(known.max()), n=int(known.size))
