"""The race: how often it drops the truly best setting of made-up ones, and what it makes of who ran with whom."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.analysis.decisions import FEWEST_BLOCKS
from runner.analysis.inference import interval_of
from runner.analysis.race import Field, Look, better_half, last_level, look, racing_level, tells_apart

BLOCKS = 8
LOOKS = BLOCKS - 1
SEARCHES = 100
#: Of a setting's figure in one block: two identical stacks of four workers on two shared cores differed by 0.03.
SPREAD = 0.03 / math.sqrt(2)


def figures(
    truth: Sequence[float], spread: float | Sequence[float], seed: int, groups: int = 1, blocks: int = BLOCKS
) -> pd.DataFrame:
    """Logs as a run would give them: each group of each block in its own weather, its members drawn."""
    random = np.random.default_rng([seed, 7])
    names = [f"s{number}" for number in range(len(truth))]
    spreads = np.broadcast_to(np.asarray(spread, float), (len(truth),))
    rows, index = [], []
    for block in range(1, blocks + 1):
        members = random.permutation(len(truth))
        for number, part in enumerate(np.array_split(members, groups)):
            weather = random.normal(0, 0.3)
            values = dict.fromkeys(names, np.nan)
            for one in part:
                values[names[one]] = truth[one] + weather + random.normal(0, spreads[one])
            rows.append(values)
            index.append((block, f"pg:{number}"))
    return pd.DataFrame(rows, index=pd.MultiIndex.from_tuples(index, names=["block", "group"]))


def search(logs: pd.DataFrame, precision: float = 0.0, always: str = "") -> tuple[Field, Look, list[str]]:
    """All that was seen, the last look, and whom it leaves; the beaten are out from their block on, but for one.

    It ends before its blocks do where a difference as small as `precision` would have been seen.
    """
    racing = list(logs.columns)
    blocks = logs.index.get_level_values("block")
    levels = racing_level(logs.shape[1], LOOKS), last_level(logs.shape[1])
    for block in range(1, int(blocks.max()) + 1):
        field = Field(logs[blocks <= block])
        seen = look(field, racing, racing, levels[0])
        assert seen is not None
        assert seen.leader not in seen.beaten
        racing = [cell for cell in racing if cell not in seen.beaten]
        out = [cell for cell in logs.columns if cell not in (*racing, always)]
        logs.loc[blocks > block, out] = np.nan
        would = look(field, racing, racing, levels[1])
        assert would is not None
        enough = block >= FEWEST_BLOCKS and would.detectable is not None and would.detectable <= precision
        if enough or block == int(blocks.max()):
            return field, would, [cell for cell in racing if cell not in would.beaten]
    raise AssertionError("there are no blocks")


def race(logs: pd.DataFrame, precision: float = 0.0) -> list[str]:
    return search(logs, precision)[2]


def lost(
    truth: Sequence[float], spread: float | Sequence[float] = SPREAD, groups: int = 1, precision: float = 0.0
) -> float:
    """How often the truly best is not among those that are left."""
    best = f"s{int(np.argmax(truth))}"
    found = (race(figures(truth, spread, seed, groups), precision) for seed in range(SEARCHES))
    return sum(best not in left for left in found) / SEARCHES


@pytest.mark.parametrize("settings", [2, 4, 16])
def test_the_truly_best_is_seldom_dropped(settings: int) -> None:
    """Nothing is harder than a field of equals: the one that is best by a hair is dropped in one of twenty at most.

    The bound leaves room for the chance of a hundred searches.
    """
    assert lost([0.001, *[0.0] * (settings - 1)]) <= 0.08


@pytest.mark.parametrize("settings", [2, 4])
def test_nor_where_the_search_ends_as_soon_as_it_knows_enough(settings: int) -> None:
    assert lost([0.001, *[0.0] * (settings - 1)], precision=0.05) <= 0.08


def test_a_gain_on_one_of_equals_is_seldom_claimed_and_its_ends_hold() -> None:
    """Whoever leads was chosen for it: the pair's own 95 % interval would claim a gain in one search of seven."""
    settings, claimed, low, high, alone = 16, 0, 0, 0, 0
    for seed in range(SEARCHES):
        field, last, left = search(figures([0.0] * settings, SPREAD, seed), 0.05, always="s0")
        lead = field.lead(last.leader, "s0")
        half = None if lead is None else interval_of(lead, last_level(settings)).half_width
        if last.leader == "s0" or lead is None or half is None:
            continue
        claimed += "s0" not in left and tells_apart(field, last.leader, "s0", last_level(settings))
        low += lead.mean - half > 0
        high += lead.mean + half < 0
        alone += lead.mean - (interval_of(lead).half_width or 0) > 0
    assert max(claimed, low, high) <= 0.08 * SEARCHES
    assert alone > 0.1 * SEARCHES, "else this test would show nothing"


def test_nor_is_it_where_the_best_is_the_noisiest() -> None:
    assert lost([0.01, *[0.0] * 11], [3 * SPREAD, *[SPREAD] * 11]) <= 0.06


def test_nor_where_they_ran_in_several_groups() -> None:
    assert lost([0.001, *[0.0] * 11], groups=3) <= 0.05


def test_what_is_much_slower_is_dropped_after_two_blocks() -> None:
    truth = [0.0, -0.02, *[-0.7] * 10]
    for seed in range(20):
        logs = figures(truth, SPREAD, seed, blocks=2)
        seen = look(Field(logs), logs.columns, logs.columns, racing_level(len(truth), LOOKS))
        assert seen is not None
        assert {f"s{number}" for number in range(2, 12)} <= seen.beaten
        assert {"s0", "s1"}.isdisjoint(seen.beaten)


def test_equals_stay_level_and_what_would_have_been_seen_shrinks() -> None:
    few, many = (
        look(Field(logs), logs.columns, logs.columns, last_level(6))
        for logs in (figures([0.0] * 6, SPREAD, 3, blocks=n) for n in (4, 16))
    )
    assert few is not None
    assert many is not None
    assert few.detectable is not None
    assert many.detectable is not None
    assert few.beaten == many.beaten == frozenset()
    assert many.detectable < few.detectable / 1.5


def test_two_blocks_of_two_settings_drop_nobody() -> None:
    """The pair's own spread has one degree of freedom: nothing checks what the t test takes for granted."""
    logs = figures([0.0, -2.0], 0.001, 1, blocks=2)
    seen = look(Field(logs), logs.columns, logs.columns, last_level(2))
    assert seen is not None
    assert (seen.leader, seen.beaten, seen.detectable) == ("s0", frozenset(), None)


def test_settings_that_never_met_are_not_compared() -> None:
    logs = pd.DataFrame(
        {"a": [1.0, np.nan], "b": [1.1, np.nan], "c": [np.nan, 9.0], "d": [np.nan, 8.0]},
        index=pd.MultiIndex.from_tuples([(1, "pg:1"), (1, "pg:2")]),
    )
    field = Field(logs)
    assert field.lead("b", "c") is None
    lead = field.lead("b", "a")
    assert lead is not None
    assert lead.mean == pytest.approx(0.1)
    assert lead.error is None, "one block has no spread"


def test_two_that_met_a_third_are_compared_through_it() -> None:
    logs = pd.DataFrame(
        {"a": [1.0, np.nan], "b": [0.9, 5.0], "c": [np.nan, 4.8]},
        index=pd.MultiIndex.from_tuples([(1, "pg"), (2, "pg")]),
    )
    lead = Field(logs).lead("a", "c")
    assert lead is not None
    assert lead.mean == pytest.approx(0.3)


def test_beside_each_other_in_every_block_it_is_the_mean_of_the_differences() -> None:
    logs = figures([0.0, -0.1, -0.2], SPREAD, 5)
    lead = Field(logs).lead("s0", "s2")
    assert lead is not None
    assert lead.mean == pytest.approx(float((logs["s0"] - logs["s2"]).mean()))
    assert lead.n == BLOCKS
    assert lead.freedom == (BLOCKS - 1) * 2


def test_what_may_not_lead_beats_nobody_and_can_be_beaten() -> None:
    logs = figures([0.5, 0.0, -0.5, -0.5, -0.5, -0.5], SPREAD, 2)
    seen = look(Field(logs), logs.columns, ["s1", "s2"], last_level(6))
    assert seen is not None
    assert seen.leader == "s1"
    assert "s0" not in seen.beaten
    assert "s5" in seen.beaten
    assert look(Field(logs), logs.columns, [], last_level(6)) is None


def test_an_empty_field_has_no_look() -> None:
    empty = pd.DataFrame(index=pd.MultiIndex.from_arrays([[], []], names=["block", "group"]))
    assert look(Field(empty), ["a"], ["a"], last_level(1)) is None
    assert Field(empty).blocks_of("a") == 0


@given(
    order=st.lists(st.integers(0, 30), unique=True, max_size=12).map(lambda names: [str(name) for name in names]),
    data=st.data(),
)
def test_the_better_half_is_left_and_who_always_stays(order: list[str], data: st.DataObject) -> None:
    always = data.draw(st.sets(st.sampled_from(order))) if order else set()
    left = better_half(order, always)
    half = order[: max(2, (len(order) + 1) // 2)]
    assert set(left) == {*half, *always}
    assert left == [cell for cell in order if cell in left]


@given(settings=st.integers(2, 200), looks=st.integers(1, 30))
def test_all_tests_together_spend_no_more_than_one_in_twenty(settings: int, looks: int) -> None:
    spent = (settings - 1) * (looks * racing_level(settings, looks) + last_level(settings))
    assert spent == pytest.approx(0.05)
