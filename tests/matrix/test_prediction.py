from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.matrix.cells import Prediction
from runner.matrix.prediction import as_predicted, predict, usable_connections
from tests.matrix.examples import (
    EVENTLET,
    GEVENT,
    GTHREAD,
    MYSQL,
    POSTGRES,
    PSYCOPG2,
    RUNSERVER,
    SYNC,
    UVICORN,
    UWSGI,
    UWSGI_GEVENT,
    age,
    bouncer,
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


def test_measured_runserver() -> None:
    """Eight clients with CONN_MAX_AGE 60: kept alive 8, otherwise up to the database's limit, without threads 1."""
    kept = predicted(POSTGRES, RUNSERVER, age(60), users=8)
    assert (kept.max, kept.opened_max) == (8, 9), "one more for its look at the migrations"
    assert as_predicted(kept, peak=8, opened=9, database_requests=900, lingering=8)[0]
    leaking = predicted({**POSTGRES, "max_connections": 100}, RUNSERVER, age(60), users=8, **NO_KEEP_ALIVE)
    assert (leaking.max, leaking.refusals) == (None, True)
    assert as_predicted(leaking, peak=95, opened=300, database_requests=900, lingering=60)[0]
    alone = predicted(POSTGRES, {**RUNSERVER, "threading": False}, age(60), users=8)
    assert (alone.min, alone.max, alone.opened_max) == (1, 1, 2)
    assert as_predicted(alone, peak=1, opened=2, database_requests=900, lingering=1)[0]


@pytest.mark.parametrize("keep_alive", [True, False])
def test_under_asgi_nothing_comes_back_to_a_kept_connection(keep_alive: bool) -> None:
    kept = predicted(POSTGRES, UVICORN, age(60), users=8, keep_alive=keep_alive)
    assert (kept.min, kept.max, kept.opened_per_request, kept.refusals) == (1, None, 1.0, True)
    assert kept.formula.startswith("without bound: each request's thread leaves a connection until garbage collection")
    assert as_predicted(kept, peak=63, opened=170, database_requests=170, lingering=63)[0]


def test_under_asgi_a_pool_bounds_what_requests_would_open() -> None:
    capped = predicted(POSTGRES, UVICORN, pool(min_size=2, max_size=4), users=8)
    assert (capped.min, capped.max, capped.opened_max) == (2, 8, 8)
    assert as_predicted(capped, peak=7, opened=7, database_requests=300, lingering=7)[0]


@pytest.mark.parametrize("server", [EVENTLET, GEVENT])
def test_an_idle_client_that_is_dropped_comes_back_with_a_new_greenlet(server: dict[str, Any]) -> None:
    open_load: dict[str, Any] = {"model": "open", "rate": 20.0, "users": 8, "count": "6s"}
    assert predicted(POSTGRES, server, age(60), users=8, count="6s").max == 8
    dropped = predicted(POSTGRES, server, age(60), **open_load)
    assert (dropped.max, dropped.opened_max) == (32, 32)
    assert "8 clients kept alive × 4 (an idle one is dropped" in dropped.formula
    assert predicted(POSTGRES, {**server, "keep_alive": 10}, age(60), **open_load).max == 8


def test_without_keep_alive_on_the_servers_side_greenlets_pile_up_too() -> None:
    assert predicted(POSTGRES, {**GEVENT, "keep_alive": 0}, age(60)).max is None


@pytest.mark.parametrize(
    ("server", "seconds", "opened_max"),
    [
        ({**SYNC, "workers": 2, "max_requests": 20}, 60, 4),
        ({**UWSGI, "processes": 2, "max_requests": 20}, 60, 16),
    ],
)
def test_replaced_workers_open_their_connections_again(server: dict[str, Any], seconds: int, opened_max: int) -> None:
    prediction = predicted(POSTGRES, server, age(seconds), users=64)
    assert (prediction.min, prediction.lingering_min) == (1, 0)
    assert prediction.opened_max == opened_max
    threads = opened_max / 4
    assert prediction.opened_more_per_request == pytest.approx(threads / 20)
    assert "a worker is replaced after 20 requests or more" in prediction.formula
    most = opened_max + round(threads / 20 * 1000)
    assert as_predicted(prediction, peak=2, opened=most, database_requests=1000, lingering=0)[0]
    assert not as_predicted(prediction, peak=2, opened=most + 1, database_requests=1000, lingering=0)[0]


def test_a_worker_that_is_to_be_replaced_keeps_no_client_alive() -> None:
    """gunicorn's gevent worker notices within a second, and answers meanwhile."""
    prediction = predicted(POSTGRES, {**GEVENT, "max_requests": 20}, age(60), users=8)
    assert (prediction.min, prediction.max, prediction.lingering_max) == (1, None, None)
    assert as_predicted(prediction, peak=45, opened=57, database_requests=90, lingering=8)[0]


def test_a_connection_for_each_request_is_one_whatever_becomes_of_the_worker() -> None:
    prediction = predicted(POSTGRES, {**SYNC, "max_requests": 20}, age(0))
    assert (prediction.opened_per_request, prediction.opened_max) == (1.0, None)


def test_harakiri_may_cost_any_number_of_connections() -> None:
    prediction = predicted(POSTGRES, {**UWSGI, "harakiri": 5}, age(60), users=64)
    assert (prediction.min, prediction.opened_max, prediction.lingering_min) == (1, None, 0)
    assert "costs its worker its life" in prediction.formula


# --- stacks that cannot work ---

PRELOADED = {"preload": True, "query_at_import": True}


@pytest.mark.parametrize(
    ("server", "connection", "most"),
    [
        ({**SYNC, **PRELOADED}, pool(min_size=2, max_size=4), 3),
        ({**GTHREAD, **PRELOADED}, pool(min_size=4, max_size=4), 4),
        ({**UWSGI, "lazy_apps": False, "query_at_import": True}, pool(min_size=2, max_size=4), 3),
    ],
)
def test_a_pool_that_was_opened_before_the_fork(server: dict[str, Any], connection: dict[str, Any], most: int) -> None:
    prediction = predicted(POSTGRES, server, connection)
    assert prediction.broken == "the pool was opened before the fork"
    assert (prediction.min, prediction.max, prediction.lingering_min) == (0, most, 0)


def test_a_connection_that_was_opened_before_the_fork() -> None:
    shared = predicted(POSTGRES, {**SYNC, **PRELOADED}, age(60))
    assert shared.broken == "a connection was opened before the fork"
    assert as_predicted(shared, peak=1, opened=1, database_requests=37, lingering=1)[0]
    closed = predicted(POSTGRES, {**SYNC, **PRELOADED}, age(0))
    assert closed.broken == "", "each worker closes it before its first request, and opens its own"
    threads = predicted(POSTGRES, {**GTHREAD, "workers": 2, **PRELOADED}, age(60), users=8)
    assert (threads.broken, threads.max) == ("", 9), "threads that serve have connections of their own"
    assert predicted(POSTGRES, {**SYNC, "preload": True}, pool()).broken == "", "opened by each worker for itself"


@pytest.mark.parametrize("server", [{**GEVENT, "preload": True}, {**UWSGI_GEVENT, "early_monkey_patch": False}])
@pytest.mark.parametrize("connection", [age(0), age(60), pool(min_size=2, max_size=4)])
def test_greenlets_that_came_after_django(server: dict[str, Any], connection: dict[str, Any]) -> None:
    prediction = predicted(POSTGRES, server, connection)
    assert prediction.broken.startswith("Django was imported before")
    assert (prediction.min, prediction.opened_per_request, prediction.lingering_min) == (0, None, 0)


@pytest.mark.parametrize("server", [{**EVENTLET, "preload": True}, UWSGI_GEVENT, {**SYNC, "preload": True}])
def test_greenlets_that_came_before_django(server: dict[str, Any]) -> None:
    assert predicted(POSTGRES, server, age(0)).broken == ""


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


# The database closes what is idle for two seconds; the load lasts four, and two more are idle.
MY_IDLE, PG_IDLE = {**MYSQL, "settings": {"wait_timeout": 2}}, {**POSTGRES, "settings": {"idle_session_timeout": "2s"}}
CLOSED = "each keeps its own; the database closes what is idle for 2 s"


@pytest.mark.parametrize("database", [MY_IDLE, PG_IDLE, {**POSTGRES, "settings": {"idle_session_timeout": 2000}}])
def test_connections_that_the_database_closes(database: dict[str, Any]) -> None:
    kept = predicted(database, SYNC, age(None))
    assert (kept.min, kept.max, kept.opened_max) == (1, 4, 16)
    assert (kept.lingering_min, kept.lingering_max) == (0, 4)
    assert CLOSED in kept.formula
    assert predicted(database, SYNC, age(None), idle="3s").lingering_max == 0
    assert predicted(database, SYNC, age(0)).opened_per_request == 1


@pytest.mark.parametrize("settings", [{}, {"idle_session_timeout": 0}, {"idle_session_timeout": "10min"}])
def test_connections_that_the_database_leaves_alone(settings: dict[str, Any]) -> None:
    kept = predicted({**POSTGRES, "settings": settings}, SYNC, age(None))
    assert (kept.min, kept.max, kept.lingering_min, kept.lingering_max) == (4, 4, 4, 4)


@pytest.mark.parametrize(
    ("database", "server", "pool", "load", "peak", "lingering", "formula"),
    [
        (
            MYSQL,
            UWSGI,
            {"kind": "dj_db_conn_pool", "pool_size": 2, "max_overflow": 1},
            {},
            (4, 12),
            (4, 8),
            "4 processes × (pool_size 2 + max_overflow 1), pool_size 2 of them kept = 12",
        ),
        (PSYCOPG2, UWSGI, {"kind": "postgrespool2"}, {}, (4, 16), (4, 16), "4 processes × 4 threads at once = 16"),
        (
            POSTGRES,
            GEVENT,
            {"kind": "geventpool", "max_conns": 3},
            {},
            (1, 32),
            (1, 6),
            "2 processes × 16 requests at once while they connect (max_conns 3 later) = 32",
        ),
        (
            POSTGRES,
            GEVENT,
            {"kind": "geventpool", "max_conns": 20},
            {},
            (1, 32),
            (1, 32),
            "2 processes × 16 requests at once = 32",
        ),
    ],
)
def test_pools_of_other_packages(
    database: Any, server: Any, pool: Any, load: Any, peak: Any, lingering: Any, formula: str
) -> None:
    """Per process: what all may hold together is what one may, as often as there are processes."""
    prediction = predicted(database, server, {"pool": pool}, **load)
    assert (prediction.min, prediction.max) == peak
    assert (prediction.lingering_min, prediction.lingering_max) == lingering
    assert prediction.formula.startswith(formula)


@pytest.mark.parametrize(("driver", "blocked"), [("mysqlclient", True), ("pymysql", False)])
def test_drivers_under_gevent(driver: str, blocked: bool) -> None:
    formula = predicted({**MYSQL, "driver": driver}, GEVENT, age(0)).formula
    assert ("a query blocks its whole worker" in formula) == blocked


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
    # The harness's own three sessions are not on top of what somebody else's server lets in.
    hosted = {**POSTGRES, "url_from": "PROD_LIKE_URL", "max_connections": 100}
    assert usable_connections(make_cell(hosted, SYNC, age(0)).database) == 94


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


# --- behind a pooler ---


def pooled(pooler: dict[str, Any], server: dict[str, Any], connection: dict[str, Any], **load: Any) -> Prediction:
    return predict(make_cell(POSTGRES, server, connection, pooler, **load), 0)


@pytest.mark.parametrize(("seconds", "peak", "left"), [(0, 1, 0), (60, 4, 4)])
def test_transaction_pooling_has_two_sides(seconds: int, peak: int, left: int) -> None:
    both = pooled(bouncer(pool_size=4), UWSGI, age(seconds))
    direct = predicted(POSTGRES, UWSGI, age(seconds))
    assert both.clients == direct, "what the app would open itself"
    assert (both.min, both.max, both.opened_max, both.lingering_max) == (1, 4, 4, 4)
    assert both.opened_per_request is None
    assert both.clients is not None
    assert (both.clients.min, both.clients.max, both.clients.lingering_min) == (peak, 16, left)
    assert both.formula.startswith("transaction pooling, pool_size 4: 4 for 16 clients (")
    assert as_predicted(both, 4, 4, 500, 4)[0]
    assert as_predicted(both, 5, 5, 500, 4) == (False, "peak 5 is above 4; opened 5 is above 4")


def test_a_reserve_comes_on_top() -> None:
    both = pooled(bouncer(pool_size=4, reserve_pool_size=2), UWSGI, age(60))
    assert both.max == 6
    assert "reserve 2" in both.formula


def test_fewer_clients_than_the_pool_has() -> None:
    assert pooled(bouncer(pool_size=20), SYNC, age(60)).max == 4
    kept = pooled(bouncer("session", pool_size=20), SYNC, age(60))
    assert (kept.min, kept.max, kept.lingering_min) == (4, 4, 4)
    assert pooled(bouncer("session", pool_size=20), SYNC, age(0)).max == 20, "a session that has ended is cleaned first"


def test_sessions_that_wait_for_one_another() -> None:
    both = pooled(bouncer("session", pool_size=4, query_wait_timeout="2s"), UWSGI, age(60))
    assert both.max == 4
    assert "the others wait until one leaves, at most 2 s, and fail then" in both.formula
    assert "wait" not in pooled(bouncer("session", pool_size=4), UWSGI, age(0)).formula


def test_statement_mode_drops_connections() -> None:
    both = pooled(bouncer("statement", pool_size=4), UWSGI, age(60))
    assert (both.opened_max, both.lingering_min) == (None, 0)
    assert "a transaction of several statements fails" in both.formula


def test_a_pooler_turns_away_too() -> None:
    clients = pooled(bouncer(max_client_conn=10), UWSGI, age(60)).clients
    assert clients is not None
    assert (clients.max, clients.refusals) == (10, True)
    assert "the pooler lets in 10 clients" in clients.formula


def test_servers_that_are_left_unused_are_closed() -> None:
    both = pooled(bouncer(pool_size=4, server_idle_timeout="1s"), UWSGI, age(60))
    assert (both.lingering_min, both.opened_max) == (0, None)
