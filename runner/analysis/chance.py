"""How much a figure varies from block to block, learned from all cells that ran beside each other.

Three blocks know little of their own spread: a pair that varied little by luck would pass for certain, and no honest
test of three figures by themselves finds anything in a family of twenty. But the cells of a group share a machine and
an hour. In each group of a block a log figure is the sum of its cell, of that group's weather, and of chance (the
additive model of a randomised block design), and the chance of all cells together has as many degrees of freedom as
there are cells. Cells need not vary alike: each pair's own variance is drawn toward the common one as far as the
cells' variances agree, and no further (Smyth, "Linear models and empirical Bayes methods for assessing differential
expression", Statistical Applications in Genetics and Molecular Biology 3 (2004), sections 3 to 6). Where the pair's
own standard error is the larger one, that one counts: the others cannot make certain what a pair's own blocks do not
bear out.

In the simulations of tests/analysis/test_chance.py this keeps the family's false alarms where cells vary alike, or up
to twice as much as others; with one cell five times as noisy as the rest and three blocks they reach a tenth.
"""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, sparse, special

from runner.analysis.inference import ROUNDING, Estimate

#: Fewer cells say nothing of how far cells agree.
FEWEST_CELLS = 4
#: The means are fitted until they move by less than this; a complete table is fitted at once.
_STILL, _MOST_STEPS = 1e-10, 1000
_LEAST, _MOST_FREEDOM = 1e-3, 1e6
Array = npt.NDArray[np.float64]


class Chance:
    """What a table of log figures says: a row for each group of a block, a column for each cell, NaN where none was."""

    def __init__(self, logs: pd.DataFrame) -> None:
        values = logs.to_numpy(float)
        known = np.isfinite(values)
        self._freedom, squares, freedoms = 0.0, np.zeros(0), np.zeros(0)
        if known.any():
            self._freedom = float(residual_freedom(known))
            squares = np.nansum(residuals(values, known) ** 2, axis=0)
            freedoms = _freedom_of_columns(known)
        of_cells = freedoms >= 1
        self._variances, self._freedoms = squares[of_cells] / freedoms[of_cells], freedoms[of_cells]
        self._variance, self._weight = self._common()

    def share(self, own: Estimate) -> Estimate:
        """A pair's estimate with what the other cells say of its standard error; as it is where they say nothing."""
        if own.error is None or not self._weight:
            return own
        common = 2 * self._variance
        if math.isinf(self._weight):
            variance = common
        else:
            variance = (self._weight * common + own.freedom * own.error**2 * own.n) / (self._weight + own.freedom)
        freedom = max(own.freedom, min(own.freedom + self._weight, self._freedom))
        return replace(own, error=max(own.error, math.sqrt(variance / own.n)), freedom=freedom)

    def _common(self) -> tuple[float, float]:
        """The variance that the cells have in common, and as how many degrees of freedom of a pair's own it counts.

        By the mean and the variance of the logarithms of the cells' variances, which have known values where all cells
        vary alike (Smyth, section 6.2). The weight is 0 where too few cells are there, infinite where they do not
        differ by more than chance.
        """
        if len(self._variances) < FEWEST_CELLS or self._variances.min(initial=math.inf) < ROUNDING**2:
            return 0.0, 0.0
        half = self._freedoms / 2
        logs = np.log(self._variances) - special.digamma(half) + np.log(half)
        excess = float(np.var(logs, ddof=1) - np.mean(special.polygamma(1, half)))
        if excess <= special.polygamma(1, _MOST_FREEDOM / 2):
            return float(np.average(self._variances, weights=self._freedoms)), math.inf
        weight = 2 * _inverse_trigamma(excess)
        shift = float(special.digamma(weight / 2) - math.log(weight / 2))
        return math.exp(float(np.mean(logs)) + shift), weight


def residuals(values: Array, known: npt.NDArray[np.bool_]) -> Array:
    """What neither the cell nor the group of the block accounts for, by alternating between the two."""
    left = np.where(known, values, 0.0)
    rows, columns = (np.maximum(known.sum(axis=axis), 1) for axis in (1, 0))
    for _ in range(_MOST_STEPS):
        by_row = left.sum(axis=1) / rows
        left -= np.where(known, by_row[:, None], 0.0)
        by_column = left.sum(axis=0) / columns
        left -= np.where(known, by_column, 0.0)
        if np.abs(by_column).max(initial=0.0) < _STILL and np.abs(by_row).max(initial=0.0) < _STILL:
            break
    return left


def residual_freedom(known: npt.NDArray[np.bool_]) -> int:
    """Of the residuals: the figures, less the means that are free.

    Free are rows and columns, less one for each part that nothing ties to the others.
    """
    rows, columns = known.shape
    ties = sparse.lil_array((rows + columns, rows + columns), dtype=int)
    ties[:rows, rows:] = known
    used = np.concatenate([known.any(axis=1), known.any(axis=0)])
    _, labels = sparse.csgraph.connected_components(ties, directed=False)
    return int(known.sum() - used.sum() + len(np.unique(labels[used])))


def _freedom_of_columns(known: npt.NDArray[np.bool_]) -> Array:
    """Of each cell's sum of squares: exact for a complete table, (blocks − 1)(cells − 1) / cells."""
    beside = np.maximum(known.sum(axis=1), 1)
    shares = np.where(known, (1 - 1 / beside)[:, None], 0.0).sum(axis=0)
    blocks = known.sum(axis=0)
    return np.where(blocks > 0, shares * (1 - 1 / np.maximum(blocks, 1)), 0.0)


def _inverse_trigamma(value: float) -> float:
    """Where the trigamma function, which falls, has this value."""
    return float(optimize.brentq(lambda x: special.polygamma(1, x) - value, _LEAST, _MOST_FREEDOM))
