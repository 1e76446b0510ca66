"""Which settings can still be the best, looked at block after block: a race that drops what is shown to be slower.

Settings that ran in one group of one block were in the same weather. So a log figure is the sum of its setting, of the
group in its block, and of chance: the additive model of incomplete block designs (Yates, "The recovery of inter-block
information in balanced incomplete block designs", Annals of Eugenics 10 (1940); here the intra-block part alone). It
takes any pattern of who ran with whom, and the chance of all settings together tells how large it is after two blocks
already, where a pair alone would need many.

A setting is dropped when the leader is ahead of it by a one-sided t test. The levels of the tests that any one setting
undergoes add up to ALPHA, so the truly best is dropped in at most one search of twenty, whichever leads (Gupta, "On
Some Multiple Decision (Selection and Ranking) Rules", Technometrics 7 (1965), with Bonferroni's inequality over the
looks). That is said of settings that run to the end: who is left out for want of time was not tested. The race spends a
fifth of it: what it is to drop is far behind. The rest is for the last look, which says who is level with the best, and
by how much the best leads each other one. Settings need not be equally noisy, as the model takes them to be; so the
pair's own blocks must say so too, at ALPHA alone.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from runner.analysis.chance import residual_freedom, residuals
from runner.analysis.decisions import FEWEST_BLOCKS
from runner.analysis.inference import ALPHA, Estimate, detectable, p_value_above, paired

#: The fewest degrees of freedom that a look rests on: two blocks of seven settings, three of four.
LEAST_FREEDOM = 6
Array = npt.NDArray[np.float64]
#: While a pair has two blocks, which cannot say how noisy it is, only a lead by more than this share counts.
COARSE_LEAD = 0.10
#: The share of ALPHA that the race spends.
RACING = 0.2
_ESTIMABLE = 1e-8
#: A race of fewer is none.
FEWEST_LEFT = 2


class Field:
    """Settings in a race: `logs` has a row for each group of a block, a column for each setting, more being better.

    NaN where a setting did not run there.
    """

    def __init__(self, logs: pd.DataFrame) -> None:
        self.logs = logs.dropna(axis="columns", how="all")
        self._values = self.logs.to_numpy(dtype=float)
        self._column = {cell: number for number, cell in enumerate(self.logs.columns)}

    @cached_property
    def _solution(self) -> tuple[Array, Array, Array]:
        """The pseudo-inverse of the design, what of it can be estimated, and the observations."""
        places = np.argwhere(~np.isnan(self._values))
        rows, columns = self._values.shape
        design = np.zeros((len(places), columns + rows))
        for number, (row, column) in enumerate(places):
            design[number, column] = design[number, columns + row] = 1.0
        inverse = np.asarray(np.linalg.pinv(design), np.float64)
        observed = self._values[tuple(places.T)]
        return inverse, inverse @ design, observed

    @cached_property
    def _chance(self) -> tuple[float, int]:
        """The standard deviation of one figure, and its degrees of freedom."""
        known = ~np.isnan(self._values)
        freedom = residual_freedom(known)
        if freedom < 1:
            return np.nan, freedom
        left = residuals(self._values, known)
        return float(np.sqrt((left**2).sum() / freedom)), freedom

    def lead(self, ahead: str, behind: str) -> Estimate | None:
        """By how much one is ahead of the other; None where nothing ties them together.

        The larger of two standard errors: all settings' common one, and the pair's own. A setting that is noisier than
        the others would be dropped too easily on the common one alone.
        """
        if ahead not in self._column or behind not in self._column:
            return None
        inverse, projection, observed = self._solution
        contrast = np.zeros(inverse.shape[0])
        contrast[self._column[ahead]] += 1.0
        contrast[self._column[behind]] -= 1.0
        if np.abs(contrast @ projection - contrast).max() > _ESTIMABLE:
            return None
        weights = contrast @ inverse
        together = self.together(ahead, behind)
        chance, freedom = self._chance
        if freedom < 1:
            return Estimate(float(weights @ observed), None, 0, len(together))
        error = chance * float(np.linalg.norm(weights))
        own = float(stats.sem(together)) if len(together) > 1 else 0.0
        return Estimate(float(weights @ observed), max(error, own), freedom, len(together))

    def together(self, ahead: str, behind: str) -> list[float]:
        """The differences of two settings where they ran beside each other."""
        found = self._values[:, self._column[ahead]] - self._values[:, self._column[behind]]
        return [float(value) for value in found[~np.isnan(found)]]

    def blocks_of(self, cell: str) -> int:
        """How many figures there are of a setting."""
        return int(np.count_nonzero(~np.isnan(self._values[:, self._column[cell]]))) if cell in self._column else 0

    def order(self, cells: Collection[str]) -> list[str]:
        """From best to worst, as far as they can be told by their means."""
        known = [cell for cell in self.logs.columns if cell in cells]
        if not known:
            return []
        inverse, _, observed = self._solution
        effects = dict(zip(self.logs.columns, inverse @ observed, strict=False))
        return sorted(known, key=lambda cell: -effects[cell])


@dataclass(frozen=True)
class Look:
    """What the blocks up to now say: who leads, by how much it leads each other setting, and whom it has beaten."""

    leader: str
    leads: Mapping[str, Estimate]
    beaten: frozenset[str]
    #: The smallest relative difference from the leader that each one that is not beaten would have shown; 0.05 is 5 %.
    #: None while there are too few blocks for any difference to count.
    detectable: float | None

    @property
    def near(self) -> frozenset[str]:
        """Those of which the leader is ahead by no more than a standard error.

        Who cannot be told from the best may still be behind it by nearly as much as would have been seen. The simplest
        within a standard error costs next to nothing (the rule of Breiman, Friedman, Olshen and Stone, "Classification
        and Regression Trees" (1984), section 3.4.3).
        """
        return frozenset(
            cell for cell, lead in self.leads.items() if lead.error is not None and lead.mean <= lead.error
        )


def racing_level(settings: int, looks: int) -> float:
    """The level of one test while the race is on: of `settings` at its start, with at most so many looks."""
    return ALPHA * RACING / max(1, settings - 1) / looks


def last_level(settings: int) -> float:
    """The level of one test of the last look."""
    return ALPHA * (1 - RACING) / max(1, settings - 1)


def look(field: Field, candidates: Collection[str], may_lead: Collection[str], level: float) -> Look | None:
    """What can be said of the `candidates`, with each test at this level.

    None where nobody may lead: what misses a limit beats nobody.
    """
    order = field.order(candidates)
    leader = next((cell for cell in order if cell in may_lead), None)
    if leader is None:
        return None
    found = {cell: field.lead(leader, cell) for cell in order if cell != leader}
    leads = {cell: lead for cell, lead in found.items() if lead is not None}
    beaten = frozenset(cell for cell, lead in leads.items() if _is_ahead(lead, field.together(leader, cell), level))
    close = [lead for cell, lead in leads.items() if cell not in beaten and lead.error is not None]
    widest = max(close, key=lambda lead: lead.error or 0.0, default=None)
    rests = widest is not None and widest.freedom >= LEAST_FREEDOM
    return Look(leader, leads, beaten, detectable(widest, ALPHA / (2 * level)) if widest and rests else None)


def tells_apart(field: Field, one: str, other: str, level: float) -> bool:
    """Whether either is shown to be ahead of the other, by tests of this level each and FEWEST_BLOCKS of both."""
    lead, back = field.lead(one, other), field.lead(other, one)
    if lead is None or back is None or lead.n < FEWEST_BLOCKS:
        return False
    ahead = _is_ahead(lead, field.together(one, other), level)
    return ahead or _is_ahead(back, field.together(other, one), level)


def _is_ahead(lead: Estimate, together: Sequence[float], level: float) -> bool:
    p = p_value_above(lead)
    return p is not None and lead.freedom >= LEAST_FREEDOM and p <= level and _own_blocks_agree(together)


def _own_blocks_agree(together: Sequence[float]) -> bool:
    if len(together) < FEWEST_BLOCKS:
        return not together or min(together) > math.log1p(COARSE_LEAD)
    p = p_value_above(paired(together))
    return p is not None and p <= ALPHA


def better_half(order: Sequence[str], always: Collection[str] = ()) -> list[str]:
    """Of settings from best to worst the first half, and two at least; `always` stay, whatever their place.

    Sequential halving (Karnin, Koren and Somekh, "Almost Optimal Exploration in Multi-Armed Bandits", ICML 2013): what
    time there is goes to the better half, then to the better half of those.
    """
    first = max(FEWEST_LEFT, math.ceil(len(order) / 2))
    return [cell for place, cell in enumerate(order) if place < first or cell in always]
