"""A figure of several blocks as one."""

from typing import TYPE_CHECKING

import numpy as np

from runner.analysis.model import Number

if TYPE_CHECKING:
    import pandas as pd


def number(values: "pd.Series[float]") -> Number | None:
    """Median, smallest, largest and how many; None where nothing was measured."""
    # A report has some thirty figures a cell: pandas' own medians would take most of its time.
    every = values.to_numpy(float)
    known = every[~np.isnan(every)]
    if not known.size:
        return None
    return Number(value=float(np.median(known)), low=float(known.min()), high=float(known.max()), n=known.size)
