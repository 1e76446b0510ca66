"""Limits on what varies: dropped while a search goes on is only what is shown to miss them."""

import math
from typing import Any

import numpy as np
import pytest

from runner.analysis.advice_model import Candidate, Paste
from runner.analysis.budget import budget_of
from runner.analysis.inference import ALPHA
from runner.analysis.limits import LOOKS, is_missed, level_after, shortfall
from runner.matrix.limits import AdviseSpec
from runner.results.schema import Arrivals, AttemptRecord, Capacity, Verdict
from tests.synthetic import prediction

SETTINGS, BLOCKS, SEARCHES = 8, 16, 300
#: From block to block, of a figure that nothing is held against: the weather, which all share, and its own.
WEATHER, OWN = 0.13, 0.05


def limits(**given: Any) -> AdviseSpec:
    return AdviseSpec.model_validate(given)


def searched(excess: float, seed: int) -> list[int]:
    """After how many blocks each of some settings is dropped, all with the same truth; those that are not left out."""
    random = np.random.default_rng([seed, 11])
    seen = excess + random.normal(0, WEATHER, (BLOCKS, 1)) + random.normal(0, OWN, (BLOCKS, SETTINGS))
    dropped = []
    for setting in range(SETTINGS):
        for block in range(1, BLOCKS + 1):
            level = level_after(SETTINGS, limits(p95="200ms"), block)
            if is_missed(seen[:block, setting].tolist(), level):
                dropped.append(block)
                break
    return dropped


def test_what_is_just_within_its_limit_is_seldom_dropped() -> None:
    """In one search of twenty is one of eight settings: those at the limit itself, looked at again and again."""
    assert sum(bool(searched(0.0, seed)) for seed in range(SEARCHES)) / SEARCHES <= 0.06


def test_what_misses_it_by_far_is_dropped_after_the_first_looks() -> None:
    """Twice and a half as long as allowed."""
    dropped = [block for seed in range(20) for block in searched(math.log(2.5), seed)]
    assert len(dropped) == 20 * SETTINGS
    assert np.median(dropped) <= 5


@pytest.mark.parametrize("given", [{"p95": "200ms"}, {"rate": 100}, {"p95": "200ms", "rate": 100}])
def test_all_tests_together_spend_no_more_than_one_in_twenty(given: dict[str, Any]) -> None:
    spent = SETTINGS * len(given) * sum(level_after(SETTINGS, limits(**given), block) for block in range(1, 100))
    assert spent == pytest.approx(ALPHA)


def test_without_such_a_limit_and_between_the_looks_nothing_is_tested() -> None:
    assert level_after(SETTINGS, limits(max_connections=5), LOOKS[0]) == 0
    assert level_after(SETTINGS, limits(p95="200ms"), LOOKS[0] + 1) == 0
    assert not is_missed([5.0, 5.0, 5.0], 0.0)


def test_without_a_level_the_median_decides() -> None:
    assert is_missed([-9.0, 0.1, 0.2], None)
    assert not is_missed([-0.1, -0.2, 9.0], None)
    assert not is_missed([], None)


def test_what_is_beyond_all_measure_misses_its_limit() -> None:
    """Beside figures a test counts it as the worst of them; alone it needs none, but waits for a look."""
    assert is_missed([math.inf] * 3, None)
    assert is_missed([-9.0, math.inf, math.inf], None)
    assert not is_missed([-9.0, -8.0, math.inf], None)
    assert is_missed([math.inf] * 3, 0.001)
    assert not is_missed([math.inf] * 3, 0.0)
    assert is_missed([1.0, 1.01, math.inf], 0.01)
    assert not is_missed([-1.0, -1.01, math.inf], 0.01)


def fast(rate: float | None, capacity: Capacity | None = None, arrivals: Arrivals | None = None) -> AttemptRecord:
    return AttemptRecord(
        cell="a",
        block=1,
        attempt=1,
        group="pg",
        verdict=Verdict(status="ok", reason=""),
        started_at="2026-01-01T00:00:00+00:00",
        clock_zero=0.0,
        throughput_rps=rate,
        capacity=capacity,
        arrivals=arrivals,
    )


def found(held: float | None, failed: float | None) -> Capacity:
    return Capacity(held_rps=held, failed_rps=failed, steps=[])


BUDGET = budget_of(prediction(4), prediction(4), hosts=1, room=97, behind_pooler=False)
CANDIDATE = Candidate(cell="a", budget=BUDGET, simplicity=[0], paste=Paste(settings="", command=""))


@pytest.mark.parametrize("level", [None, 0.001])
@pytest.mark.parametrize(
    ("record", "missed"),
    [
        (fast(0.0), True),
        (fast(None, found(None, 1.0)), True),
        (fast(None, found(120.0, 130.0)), False),
        # The generator could make no rate: that is no fault of the setting's.
        (fast(None, found(None, None)), False),
        (fast(None), False),
    ],
)
def test_no_answer_at_all_is_the_lowest_rate_there_is(record: AttemptRecord, missed: bool, level: float | None) -> None:
    words = shortfall(CANDIDATE, [record] * 3, limits(rate=100), level)
    assert words == ("answers 0 (0 to 0) requests/s on all hosts for 100 expected" if missed else "")


def due(dropped: int) -> Arrivals:
    return Arrivals(due=1000, late=0, dropped=dropped)


@pytest.mark.parametrize("level", [None, 0.04])
@pytest.mark.parametrize(
    ("dropped", "rates", "missed"),
    [
        # The moments at which requests were due, and the few of the last moment, are nobody's fault.
        (0, (99.0, 99.1, 99.2), False),
        (10, (98.0, 98.1, 98.2), False),
        (20, (98.0, 98.1, 98.2), True),
        (0, (0.0, 0.0, 0.0), True),
    ],
)
def test_a_schedule_that_was_answered_whole_misses_nothing(
    dropped: int, rates: tuple[float, ...], missed: bool, level: float | None
) -> None:
    records = [fast(rate, arrivals=due(dropped)) for rate in rates]
    assert bool(shortfall(CANDIDATE, records, limits(rate=100), level)) is missed


def test_what_was_searched_is_held_to_its_capacity_whatever_left() -> None:
    records = [fast(None, found(held, 99.0), due(0)) for held in (95.0, 96.0, 97.0)]
    assert shortfall(CANDIDATE, records, limits(rate=100), None)


def test_one_block_shows_nothing() -> None:
    assert not is_missed([9.0], 0.05)
