from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.matrix.cells import Prediction
from runner.matrix.prediction import as_predicted, predict, usable_connections
from tests.matrix.examples import (
    GEVENT,
    GTHREAD,
    MYSQL,
    POSTGRES,
    PSYCOPG2,
    SYNC,
    UWSGI,
    age,
    make_cell,
    pool,
)

GREEN = {**GEVENT, "psycogreen": True}
NO_KEEP_ALIVE = {"keep_alive": False}


def predicted(
    database: dict[str, Any], server: dict[str, Any], connection: dict[str, Any], checks: int = 0, **load: Any
) -> Prediction:
    return predict(make_cell(database, server, connection, **load), checks)


# --- what was measured by hand: peak, opened, requests, lingering ---


@pytest.mark.parametrize("database", [POSTGRES, MYSQL], ids=["pg", "my"])
@pytest.mark.parametrize(("seconds", "opened", "left"), [(0, 500, 0), (60, 16, 16), (None, 16, 16)])
def test_measured_uwsgi(database: dict[str, Any], seconds: int | None, opened: int, left: int) -> None:
    prediction = predicted(database, UWSGI, age(seconds), users=64)
    assert prediction.max == 16
    assert as_predicted(prediction, 16, opened, 500, left) == (True, "as predicted")


@pytest.mark.parametrize(("seconds", "opened", "left"), [(0, 763, 0), (60, 4, 4), (None, 4, 4)])
def test_measured_sync(seconds: int | None, opened: int, left: int) -> None:
    prediction = predicted(POSTGRES, SYNC, age(seconds))
    assert prediction.max == 4
    assert as_predicted(prediction, 4, opened, 763, left) == (True, "as predicted")


@pytest.mark.parametrize(
    ("least", "most", "processes", "threads", "peak"),
    [(5, 5, 4, 6, 20), (2, 8, 4, 5, 20), (6, 8, 4, 5, 28), (8, 8, 4, 5, 32)],
)
def test_measured_pools(least: int, most: int, processes: int, threads: int, peak: int) -> None:
    server = {"kind": "uwsgi", "processes": processes, "threads": threads}
    prediction = predicted(POSTGRES, server, pool(min_size=least, max_size=most), users=64)
    assert prediction.max == prediction.opened_max == peak
    assert prediction.min == processes * least
    assert as_predicted(prediction, peak, peak, 5000, peak) == (True, "as predicted")


def test_measured_gevent_with_kept_alive_clients() -> None:
    prediction = predicted(POSTGRES, GEVENT, age(60), users=32)
    assert prediction.max == 32
    assert as_predicted(prediction, 32, 32, 5000, 32)[0]
    assert as_predicted(prediction, 32, 32, 5000, 0)[0], "gunicorn drops idle clients after two seconds"


def test_measured_gevent_pile_up() -> None:
    prediction = predicted({**POSTGRES, "max_connections": 100}, GEVENT, age(60), users=32, **NO_KEEP_ALIVE)
    assert prediction.max is None
    assert prediction.refusals
    assert "garbage collection" in prediction.formula
    assert "the database lets in 97 and refuses the rest" in prediction.formula
    assert as_predicted(prediction, peak=95, opened=442, database_requests=1031, lingering=40)[0]


def test_measured_gthread_with_idle_worker() -> None:
    prediction = predicted(POSTGRES, GTHREAD, age(60), users=64)
    assert (prediction.min, prediction.max) == (1, 16)
    assert as_predicted(prediction, 11, 11, 5000, 11)[0]


# --- each bound, with its formula ---

BOUNDS = [
    # one connection a request
    (POSTGRES, SYNC, age(0), {}, (1, 4), (0, 0), "4 processes, only while a request lasts"),
    (
        POSTGRES,
        UWSGI,
        age(0),
        {},
        (1, 16),
        (0, 0),
        "4 processes × 4 threads = 16, only while a request lasts",
    ),
    (
        POSTGRES,
        UWSGI,
        age(0),
        {"users": 3},
        (1, 6),
        (0, 0),
        "3 clients × 2 (the last request's may still be closing) = 6, only",
    ),
    (POSTGRES, GTHREAD, age(0), {"users": 3}, (1, 3), (0, 0), "3 clients, only while a request lasts"),
    (POSTGRES, GTHREAD, age(0), {"users": 3, **NO_KEEP_ALIVE}, (1, 6), (0, 0), "3 clients × 2"),
    (POSTGRES, GEVENT, age(0), {}, (1, 16), (0, 0), "16 clients, only while a request lasts"),
    (POSTGRES, GEVENT, age(0), NO_KEEP_ALIVE, (1, 32), (0, 0), "16 clients × 2"),
    (
        POSTGRES,
        {**GEVENT, "worker_connections": 3},
        age(0),
        {},
        (1, 6),
        (0, 0),
        "2 processes × 3 clients = 6, only",
    ),
    # a driver that blocks its worker
    (
        MYSQL,
        GEVENT,
        age(0),
        {},
        (1, 16),
        (0, 0),
        "16 clients, only while a request lasts; about 2, since a query blocks its whole",
    ),
    (
        PSYCOPG2,
        GEVENT,
        age(0),
        {},
        (1, 16),
        (0, 0),
        "16 clients, only while a request lasts; about 2, since a query blocks its whole",
    ),
    # persistent connections
    (POSTGRES, SYNC, age(None), {}, (4, 4), (4, 4), "4 processes, each keeps its own"),
    (POSTGRES, {**SYNC, "workers": 1}, age(None), {}, (1, 1), (1, 1), "1 process, each keeps its own"),
    (
        POSTGRES,
        UWSGI,
        age(60),
        {},
        (4, 16),
        (4, 16),
        "4 processes × 4 threads = 16, each thread keeps its own",
    ),
    (
        POSTGRES,
        UWSGI,
        age(60),
        {"users": 2},
        (1, 16),
        (1, 16),
        "each thread keeps its own; fewer where workers get no client",
    ),
    (
        MYSQL,
        GTHREAD,
        age(60),
        {},
        (1, 16),
        (1, 16),
        "each thread keeps its own; fewer where workers get no client",
    ),
    (
        MYSQL,
        GTHREAD,
        age(60),
        NO_KEEP_ALIVE,
        (4, 16),
        (4, 16),
        "4 processes × 4 threads = 16, each thread keeps its own",
    ),
    (MYSQL, GEVENT, age(None), {}, (1, 16), (0, 16), "16 clients kept alive, each keeps its own"),
    (
        POSTGRES,
        {**GEVENT, "worker_connections": 3},
        age(None),
        {},
        (1, 6),
        (0, 6),
        "2 processes × 3 clients = 6, each keeps its own",
    ),
    (
        MYSQL,
        GEVENT,
        age(None),
        NO_KEEP_ALIVE,
        (1, None),
        (0, None),
        "without bound: each request's greenlet leaves a connection",
    ),
    # pools
    (POSTGRES, UWSGI, pool(), {}, (16, 16), (16, 16), "4 processes × max_size 4 = 16"),
    (
        POSTGRES,
        SYNC,
        pool(min_size=2, max_size=8),
        {},
        (8, 12),
        (8, 12),
        "4 processes × 3 (min_size + 1) = 12",
    ),
    (POSTGRES, SYNC, pool(min_size=0, max_size=8), {}, (4, 4), (4, 4), "4 processes × 1 (min_size + 1) = 4"),
    (
        POSTGRES,
        UWSGI,
        pool(min_size=1, max_size=8),
        {},
        (4, 16),
        (4, 16),
        "4 processes × 4 threads at once = 16",
    ),
    (
        POSTGRES,
        GTHREAD,
        pool(min_size=1, max_size=8),
        {"users": 3},
        (1, 12),
        (1, 12),
        "4 processes × 3 requests at once = 12; fewer",
    ),
    (
        POSTGRES,
        GEVENT,
        pool(min_size=4, max_size=4),
        {},
        (4, 8),
        (4, 8),
        "2 processes × max_size 4 = 8; fewer where workers get",
    ),
    (
        POSTGRES,
        GEVENT,
        pool(min_size=1, max_size=100),
        {},
        (1, 32),
        (1, 32),
        "2 processes × 16 requests at once = 32; fewer",
    ),
]


@pytest.mark.parametrize(("database", "server", "connection", "load", "peak", "lingering", "formula"), BOUNDS)
def test_bounds(
    database: Any, server: Any, connection: Any, load: Any, peak: Any, lingering: Any, formula: str
) -> None:
    prediction = predicted(database, server, connection, **load)
    assert (prediction.min, prediction.max) == peak
    assert (prediction.lingering_min, prediction.lingering_max) == lingering
    assert prediction.formula.startswith(formula) or prediction.formula.endswith(formula)


def test_psycogreen_frees_psycopg2() -> None:
    assert "blocks" not in predicted(PSYCOPG2, GREEN, age(0)).formula


# --- what is opened ---


def test_opened_with_each_request() -> None:
    prediction = predicted(POSTGRES, UWSGI, age(0))
    assert (prediction.opened_per_request, prediction.opened_max) == (1.0, None)


@pytest.mark.parametrize(
    ("seconds", "opened", "least_left"),
    [(None, 16, 4), (60, 16, 4), (7, 16, 4), (6, 32, 0), (2, 64, 0), (1, 112, 0)],
)
def test_opened_again_when_too_old(seconds: int | None, opened: int, least_left: int) -> None:
    prediction = predicted(POSTGRES, UWSGI, age(seconds), count="4s", idle="2s")
    assert prediction.opened_per_request is None
    assert prediction.opened_max == opened
    assert prediction.lingering_min == least_left


def test_the_harness_leaves_connections_behind_in_greenlets() -> None:
    prediction = predicted(POSTGRES, GEVENT, age(None), checks=5)
    assert (prediction.max, prediction.opened_max) == (21, 21)
    assert prediction.formula == "16 clients kept alive, each keeps its own + 5 that the harness's checks may leave"
    assert predicted(POSTGRES, UWSGI, age(None), checks=5) == predicted(POSTGRES, UWSGI, age(None))


# --- what the database lets in ---


def test_usable_connections() -> None:
    assert usable_connections(make_cell({**POSTGRES, "max_connections": 100}, SYNC, age(0)).database) == 97
    assert usable_connections(make_cell({**MYSQL, "max_connections": 100}, SYNC, age(0)).database) == 100


def test_the_database_bounds_everything() -> None:
    small = {**MYSQL, "max_connections": 10}
    prediction = predicted(small, UWSGI, age(None))
    assert (prediction.min, prediction.max, prediction.lingering_max) == (4, 10, 10)
    assert prediction.formula.endswith("; the database lets in 10 and refuses the rest")
    assert prediction.refusals
    assert not predicted(small, SYNC, age(None)).refusals
    assert as_predicted(predicted(small, UWSGI, age(0)), 10, 60, 100, 0)[0], "refused requests open nothing"


# --- the verdict ---

EXACT = Prediction(
    min=2,
    max=4,
    formula="",
    opened_per_request=1.0,
    opened_max=None,
    lingering_min=1,
    lingering_max=3,
)


@pytest.mark.parametrize(
    ("peak", "opened", "requests", "lingering", "words"),
    [
        (4, 1010, 1000, 3, "as predicted"),
        (2, 990, 1000, 1, "as predicted"),
        (3, 12, 10, 2, "as predicted"),
        (5, 1000, 1000, 2, "peak 5 is above 4"),
        (1, 1000, 1000, 2, "peak 1 is below 2"),
        (3, 1000, 1000, 4, "lingering 4 is above 3"),
        (3, 1011, 1000, 2, "opened 1011 for 1000 requests is not 1 each"),
        (3, 989, 1000, 0, "lingering 0 is below 1; opened 989 for 1000 requests is not 1 each"),
    ],
)
def test_what_is_outside(peak: int, opened: int, requests: int, lingering: int, words: str) -> None:
    assert as_predicted(EXACT, peak, opened, requests, lingering) == (words == "as predicted", words)


def test_opened_may_be_bounded_altogether() -> None:
    reused = replace(EXACT, opened_per_request=None, opened_max=4)
    assert as_predicted(reused, 4, 4, 1000, 3) == (True, "as predicted")
    assert as_predicted(reused, 4, 5, 1000, 3) == (False, "opened 5 is above 4")


# --- whatever the cell ---


@given(
    database=st.sampled_from([POSTGRES, MYSQL, PSYCOPG2]),
    server=st.sampled_from([SYNC, GTHREAD, GEVENT, UWSGI]),
    connection=st.sampled_from([age(0), age(1), age(60), age(None), pool(min_size=0, max_size=3), pool(min_size=2)]),
    users=st.integers(1, 300),
    keep_alive=st.booleans(),
    limit=st.integers(10, 400),
)
def test_bounds_are_in_order(
    database: Any, server: Any, connection: Any, users: int, keep_alive: bool, limit: int
) -> None:
    cell = make_cell({**database, "max_connections": limit}, server, connection, users=users, keep_alive=keep_alive)
    prediction = predict(cell)
    usable = usable_connections(cell.database)
    assert 1 <= prediction.min <= (usable if prediction.max is None else prediction.max) <= usable
    if prediction.lingering_max is not None:
        assert 0 <= prediction.lingering_min <= prediction.lingering_max <= usable
    assert (prediction.max is None) <= prediction.refusals
    assert prediction.formula
