"""The search by itself, against made-up servers: it closes in on the truth, and says when there is none to be had."""

import math
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from runner.load.search import LEAST, MOST, TRIES, Outcome, RateSearch

#: Growth from end to end, bisection after it, each rate twice.
MOST_STEPS = 120


def searched(start: float, precision: float, answer: Callable[[float], Outcome]) -> tuple[RateSearch, list[float]]:
    search, tried = RateSearch(start, precision), []
    while search.rate is not None:
        tried.append(search.rate)
        assert len(tried) <= MOST_STEPS
        search.tried(answer(search.rate))
    return search, tried


rates = st.floats(LEAST, MOST)
precisions = st.floats(0.005, 0.5)


@given(rates, rates, precisions)
def test_it_closes_in_on_the_capacity(capacity: float, start: float, precision: float) -> None:
    search, tried = searched(start, precision, lambda rate: "held" if rate <= capacity else "missed")
    assert search.held is not None
    assert search.held <= capacity
    if search.failed is None:
        assert search.held == MOST
    else:
        assert capacity < search.failed <= search.held * (1 + precision) * (1 + 1e-9)
    assert all(LEAST <= rate <= MOST for rate in tried)


@given(rates, precisions, st.integers(0, 30))
def test_a_rate_that_is_missed_once_is_tried_again(start: float, precision: float, unlucky: int) -> None:
    """One lost step, whichever it is, changes nothing."""
    capacity = 500.0
    steps = 0

    def answer(rate: float) -> Outcome:
        nonlocal steps
        steps += 1
        return "held" if rate <= capacity and steps - 1 != unlucky else "missed"

    search, _ = searched(start, precision, answer)
    undisturbed, _ = searched(start, precision, lambda rate: "held" if rate <= capacity else "missed")
    assert (search.held, search.failed) == (undisturbed.held, undisturbed.failed)


@given(rates, precisions)
def test_what_the_generator_cannot_make_is_no_failure(start: float, precision: float) -> None:
    limit = 800.0
    search, _ = searched(start, precision, lambda rate: "held" if rate <= limit else "limited")
    assert search.failed is None
    assert search.held is not None
    assert search.held <= limit


def test_a_server_that_holds_nothing_has_no_capacity() -> None:
    search, tried = searched(100.0, 0.05, lambda _: "missed")
    assert (search.held, search.failed) == (None, LEAST)
    assert tried[-TRIES:] == [LEAST] * TRIES


def test_a_capacity_below_what_the_generator_can_make_is_found_beside_its_limit() -> None:
    answers: Callable[[float], Outcome] = lambda rate: (  # noqa: E731
        "limited" if rate > 900 else "missed" if rate > 300 else "held"
    )
    search, _ = searched(2000.0, 0.05, answers)
    assert search.held is not None
    assert search.failed is not None
    assert search.held <= 300 < search.failed <= search.held * 1.05 * (1 + 1e-9)


def test_it_takes_about_as_many_steps_as_the_plan_reckons_with() -> None:
    _, tried = searched(100.0, 0.05, lambda rate: "held" if rate <= 180 else "missed")
    assert 6 <= len(tried) <= 14
    assert math.isclose(tried[0], 100.0)
