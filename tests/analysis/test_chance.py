"""What all cells say of how much each varies: exact on small tables; alarms and coverage on seeded simulations."""

import logging
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from runner.analysis.chance import FEWEST_CELLS, Chance
from runner.analysis.inference import ALPHA, detectable, holm, interval_of, p_value, p_value_above, paired

RUNS = 400
NOISE, WEATHER = 0.04, 0.1
Table = npt.NDArray[np.float64]
#: Draws how much each of so many cells varies.
Spreads = Callable[[np.random.Generator, int], Table]


def alike(dice: np.random.Generator, cells: int) -> Table:
    return np.full(cells, NOISE)


def about_alike(dice: np.random.Generator, cells: int) -> Table:
    return NOISE * np.exp(dice.normal(0, 0.3, cells))


def one_wild(dice: np.random.Generator, cells: int) -> Table:
    spreads = np.full(cells, NOISE)
    spreads[dice.integers(cells)] *= 5
    return spreads


def table(dice: np.random.Generator, blocks: int, cells: int, spreads: Spreads, *, heavy: bool = False) -> Table:
    chance = dice.standard_t(3, (blocks, cells)) if heavy else dice.normal(size=(blocks, cells))
    return chance * spreads(dice, cells) + dice.normal(0, WEATHER, (blocks, 1))


def pairs(servers: int, settings: int) -> list[tuple[int, int]]:
    """Each server's settings against its first, as in a matrix."""
    return [
        (first + number, first) for first in range(0, servers * settings, settings) for number in range(1, settings)
    ]


def column(values: Table, cell: int, reference: int) -> list[float]:
    return list(values[:, cell] - values[:, reference])


# --- exact ---


def test_a_complete_table_is_a_randomised_block_design() -> None:
    """Cells that differ by no more than chance: the residual mean square, with (blocks − 1)(cells − 1) of freedom."""
    values = np.random.default_rng(1).normal(0, NOISE, (3, 6)) + np.array([[5.0], [1.0], [9.0]])
    centred = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    own = paired(column(values, 1, 0))
    shared = Chance(pd.DataFrame(values)).share(own)
    assert own.error is not None
    assert shared.error == pytest.approx(max(own.error, math.sqrt(2 * (centred**2).sum() / 10 / 3)))
    assert (shared.freedom, shared.mean, shared.n) == (10, own.mean, 3)


def test_what_is_missing_is_left_out_and_what_nothing_ties_together_costs_a_mean_more() -> None:
    dice = np.random.default_rng(2)
    apart = np.full((6, 10), np.nan)
    apart[:3, :5], apart[3:, 5:] = dice.normal(0, NOISE, (3, 5)), dice.normal(0, NOISE, (3, 5))
    own = paired(column(apart[:3], 1, 0))
    assert Chance(pd.DataFrame(apart)).share(own).freedom == pytest.approx(2 * 2 * 4)
    apart[0, 4] = apart[1, 4] = -math.inf
    assert Chance(pd.DataFrame(apart)).share(own).freedom == pytest.approx(2 * 2 * 4 - 2)


@pytest.mark.parametrize("cells", range(FEWEST_CELLS))
def test_few_cells_say_nothing(cells: int) -> None:
    values = np.random.default_rng(3).normal(size=(3, cells))
    own = paired([0.1, 0.2, 0.4])
    assert Chance(pd.DataFrame(values)).share(own) == own


def test_one_block_and_figures_without_chance_say_nothing() -> None:
    for values in (np.ones((1, 8)), np.ones((3, 8)), np.full((3, 8), np.nan)):
        own = paired([0.1, 0.2, 0.4])
        assert Chance(pd.DataFrame(values)).share(own) == own
    assert Chance(pd.DataFrame(np.random.default_rng(4).normal(size=(3, 8)))).share(paired([0.1])).error is None


def test_a_pair_that_varies_more_than_all_others_is_taken_at_its_own_word() -> None:
    values = np.random.default_rng(5).normal(0, NOISE, (3, 12))
    values[:, 1] += [-3.0, 0.0, 3.0]
    own = paired(column(values, 1, 0))
    shared = Chance(pd.DataFrame(values)).share(own)
    assert shared.error is not None
    assert own.error is not None
    assert shared.error >= own.error > 1


# --- simulated ---


@pytest.mark.parametrize("blocks", [3, 6, 12])
@pytest.mark.parametrize(("spreads", "heavy"), [(alike, False), (about_alike, False), (alike, True), (one_wild, False)])
def test_a_familys_false_alarms(blocks: int, spreads: Spreads, heavy: bool) -> None:
    """Kept in every case but that of one wild cell in three blocks, which docs/report.md owns up to."""
    most = 2 * ALPHA if spreads is one_wild and blocks == 3 else ALPHA
    dice = np.random.default_rng(blocks)
    alarms, held, best_lost = 0, [], 0
    for _ in range(RUNS):
        values = table(dice, blocks, 16, spreads, heavy=heavy)
        chance = Chance(pd.DataFrame(values))
        found = [chance.share(paired(column(values, *pair))) for pair in pairs(4, 4)]
        alarms += min(holm([p_value(one) or 0.0 for one in found])) <= ALPHA
        intervals = [interval_of(one) for one in found]
        held += [abs(one.mean) <= (one.half_width or 0.0) for one in intervals]
        best = int(np.argmax(values.mean(0)))
        if best:
            lead = p_value_above(chance.share(paired(column(values, best, 0))))
            best_lost += lead is not None and lead * 15 <= ALPHA
    said = f"false alarms {alarms / RUNS:.1%}, best left out {best_lost / RUNS:.1%}, covered {np.mean(held):.1%}"
    logging.getLogger(__name__).info(said)
    two_errors = 2 * math.sqrt(most * (1 - most) / RUNS)
    assert alarms / RUNS <= most + two_errors
    assert best_lost / RUNS <= most + two_errors
    assert 0.93 <= np.mean(held) <= 0.985


@pytest.mark.parametrize("blocks", [3, 6])
def test_the_smallest_detectable_effect_is_found_about_four_times_in_five(blocks: int) -> None:
    """Judged as one of twelve ratios; the effect is what `detectable` says of the very table that it is put into."""
    dice = np.random.default_rng(blocks)
    found = []
    for _ in range(RUNS):
        values = table(dice, blocks, 16, alike)
        chance = Chance(pd.DataFrame(values))
        own = [paired(column(values, *pair)) for pair in pairs(4, 4)]
        smallest = detectable(chance.share(own[0]), len(own))
        assert smallest is not None
        values[:, 1] += math.log1p(smallest)
        one = Chance(pd.DataFrame(values)).share(paired(column(values, 1, 0)))
        found.append((p_value(one) or 0.0) * len(own) <= ALPHA)
    assert 0.7 <= np.mean(found) <= 0.9


def test_three_blocks_of_sixteen_cells_find_a_fifth() -> None:
    """A pair by itself would have had to differ by more than half."""
    dice = np.random.default_rng(8)
    alone, together = [], []
    for _ in range(100):
        values = table(dice, 3, 16, alike)
        own = paired(column(values, 1, 0))
        alone.append(detectable(own, 12) or math.nan)
        together.append(detectable(Chance(pd.DataFrame(values)).share(own), 12) or math.nan)
    assert np.median(together) < 0.25
    assert np.median(alone) > 0.5
