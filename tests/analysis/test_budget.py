"""Connections of a whole deployment: what fits, and what is said of what does not."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.analysis.budget import PoolerClients, budget_of, room_for
from tests.synthetic import prediction

ROOMY = PoolerClients(each=4, surge=4, limit=100)
UNBOUNDED = replace(prediction(4), max=None, formula="without bound: each request leaves one")


@pytest.mark.parametrize(
    ("max_connections", "reserved", "headroom", "room"),
    [(100, 3, 0.0, 97), (100, 3, 0.1, 87), (151, 0, 0.2, 120), (100, 0, 0.1, 90), (3, 3, 0.5, 0)],
)
def test_the_room(max_connections: int, reserved: int, headroom: float, room: int) -> None:
    assert room_for(max_connections, reserved, headroom) == room


def test_a_restart_has_old_and_new_processes_of_one_host_and_a_fault_all_connections_twice() -> None:
    budget = budget_of(prediction(16), prediction(16), hosts=3, room=100)
    assert (budget.steady, budget.restart, budget.fault, budget.surge) == (48, 64, 96, 96)
    assert budget.overdrawn == ""
    assert budget.bounded


def test_a_pooler_is_not_restarted_with_the_app() -> None:
    budget = budget_of(prediction(4), prediction(4), hosts=3, room=100, pooler=ROOMY)
    assert (budget.steady, budget.restart, budget.fault) == (12, 12, 24)


@pytest.mark.parametrize(
    ("each", "surge", "words", "bounded"),
    [
        (50, 50, "", True),
        (50, 51, "", False),
        (50, None, "", False),
        (51, 51, "a rolling restart brings 102 clients to a pooler that lets in 100", False),
        (101, 101, "101 clients for a pooler that lets in 100", False),
        (None, None, "clients without bound for a pooler that lets in 100", False),
    ],
)
def test_a_pooler_has_to_let_in_old_and_new_processes(
    each: int | None, surge: int | None, words: str, bounded: bool
) -> None:
    clients = PoolerClients(each=each, surge=surge, limit=100)
    budget = budget_of(prediction(4), prediction(4), hosts=3, room=100, pooler=clients)
    assert (budget.overdrawn, budget.bounded) == (words, bounded)
    assert budget.surge_fits


@pytest.mark.parametrize(("each", "sessions", "waiting"), [(10, 20, 0), (11, 20, 2), (11, None, 0)])
def test_who_waits_for_a_session_in_a_restart(each: int, sessions: int | None, waiting: int) -> None:
    assert PoolerClients(each=each, surge=each, limit=100, sessions=sessions).waiting == waiting


@pytest.mark.parametrize(
    ("room", "words"),
    [
        (97, ""),
        (64, ""),
        (63, "64 connections for a room of 63 (after a fault"),
        (47, "48 connections for"),
        (31, "(steady)"),
    ],
)
def test_what_does_not_fit_is_named(room: int, words: str) -> None:
    budget = budget_of(prediction(16), prediction(16), hosts=2, room=room)
    if words:
        assert words in budget.overdrawn
        assert str(room) in budget.overdrawn
    else:
        assert budget.overdrawn == ""


def test_what_nothing_bounds_never_fits() -> None:
    budget = budget_of(UNBOUNDED, UNBOUNDED, hosts=1, room=10_000)
    assert budget.overdrawn.startswith("without bound (without bound: each request leaves one)")
    assert not budget.bounded


def test_what_the_clients_alone_bound_is_said_to_be_so() -> None:
    budget = budget_of(prediction(16), prediction(200), hosts=1, room=90)
    assert budget.overdrawn == ""
    assert not budget.bounded


def test_with_any_number_of_clients_the_worst_situation_counts() -> None:
    """gthread 4 × 16, age 0, with 8 clients: steady, all threads together fit in 87, and after a fault they do not."""
    budget = budget_of(prediction(8), prediction(64), hosts=1, room=87)
    assert (budget.each, budget.fault, budget.surge) == (8, 16, 128)
    assert (budget.overdrawn, budget.bounded) == ("", False)
    assert budget_of(prediction(8), prediction(43), hosts=1, room=87).bounded


def test_what_was_measured_counts_where_it_is_more() -> None:
    budget = budget_of(prediction(16), prediction(16), hosts=2, room=70)
    assert budget.at_least(16) == budget
    seen = budget.at_least(18)
    assert (seen.steady, seen.restart, seen.fault, seen.surge) == (36, 54, 72, 72)
    assert "72 connections for a room of 70" in seen.overdrawn
    behind = budget_of(prediction(16), prediction(16), hosts=2, room=70, pooler=ROOMY).at_least(17)
    assert (behind.steady, behind.restart) == (34, 34)


@given(
    each=st.integers(1, 500),
    hosts=st.integers(1, 40),
    room=st.integers(0, 5000),
    pooler=st.booleans(),
    measured=st.integers(0, 600),
)
def test_nothing_that_fits_takes_more_than_the_room(
    each: int, hosts: int, room: int, pooler: bool, measured: int
) -> None:
    budget = budget_of(prediction(each), prediction(each), hosts, room, pooler=ROOMY if pooler else None).at_least(
        measured
    )
    figures = [figure for figure in budget.by_situation.values() if figure is not None]
    assert (budget.overdrawn == "") == (max(figures) <= room)
    assert min(figures) >= measured * hosts
