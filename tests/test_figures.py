"""One attempt's figures, against what the definitions say."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import figures
from runner.results.schema import Latency, Waterfall

QUANTILES = {"p50": Fraction(1, 2), "p90": Fraction(9, 10), "p95": Fraction(95, 100), "p99": Fraction(99, 100)}


def requests(*rows: tuple[float, float, str, str, int, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["offset", "service_ms", "endpoint", "error", "worker", "thread"])


@given(values=st.lists(st.integers(0, 10**6), min_size=1, max_size=400))
def test_a_quantile_is_the_value_at_its_rank(values: list[int]) -> None:
    """The ⌈q·n⌉-th smallest, in exact arithmetic."""
    found = figures.latency(pd.Series([value / 4 for value in values]))
    ordered = sorted(values)
    for name, q in QUANTILES.items():
        assert getattr(found, name) == ordered[math.ceil(q * len(ordered)) - 1] / 4, name
    assert found.max == ordered[-1] / 4


def test_quantiles_of_round_numbers() -> None:
    hundred = figures.latency(pd.Series(np.arange(100, 0, -1, dtype=np.float32)))
    assert hundred == Latency(p50=50, p90=90, p95=95, p99=99, max=100)
    assert figures.latency(pd.Series([7.5])) == Latency(p50=7.5, p90=7.5, p95=7.5, p99=7.5, max=7.5)


def test_no_request_is_no_latency() -> None:
    assert figures.latency(pd.Series(np.array([], dtype=np.float64))) == Latency()


def timed(*rows: tuple[float, float, float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["service_ms", "app_ms", "pool_ms", "connect_ms", "sql_ms"], dtype=np.float32)


def test_where_the_time_goes_is_a_mean_over_the_requests_that_were_timed() -> None:
    frame = timed((10, 6, 0, 2, 1), (20, 10, 4, 0, 3), (500, -1, -1, -1, -1))
    assert figures.waterfall(frame) == Waterfall(queue=7, pool=2, connect=1, sql=2, app=3)


def test_an_app_that_did_not_tell_its_parts() -> None:
    assert figures.waterfall(timed((10, 6, -1, -1, -1), (20, 10, -1, -1, -1))) == Waterfall(queue=7, app=8)
    assert figures.waterfall(timed((10, -1, -1, -1, -1))) is None
    assert figures.waterfall(timed()) is None


def test_a_request_belongs_to_the_moment_of_its_answer() -> None:
    frame = requests(
        (0.9, 50.0, "answered before", "", 1, 0),
        (0.9, 125.0, "reaches in", "", 1, 0),
        (1.5, 250.0, "inside", "", 1, 0),
        (1.75, 250.0, "answered at the end", "", 1, 0),
        (1.9, 500.0, "reaches out", "", 1, 0),
    )
    assert figures.answered_between(frame, 1.0, 2.0)["endpoint"].tolist() == ["reaches in", "inside"]
    assert figures.answered_between(frame, 2.0, 3.0)["endpoint"].tolist() == ["answered at the end", "reaches out"]


def test_errors_by_kind_with_an_example() -> None:
    frame = requests(
        (0, 1, "GET /a/", "HTTP 500", 1, 0),
        (0, 1, "GET /a/", "", 1, 0),
        (0, 1, "GET /b/", "HTTP 500", 1, 0),
        (0, 1, "GET /b/", "ConnectionResetError", 0, 0),
    ).astype({"error": "category"})
    kinds = figures.error_kinds(frame, {"HTTP 500": "PoolTimeout"})
    found = {kind: (error.count, error.example) for kind, error in kinds.items()}
    assert found == {"HTTP 500": (2, "PoolTimeout"), "ConnectionResetError": (1, "")}


def test_a_kind_that_never_occurred_is_left_out() -> None:
    """A category may stay behind in a part of a frame."""
    frame = requests((0, 1, "GET /a/", "HTTP 500", 1, 0), (0, 1, "GET /a/", "", 1, 0)).astype({"error": "category"})
    assert figures.error_kinds(frame[frame["error"] == ""], {}) == {}


def test_workers_with_their_threads_the_busiest_first() -> None:
    rows = [(41, 0), (42, 0), (42, 1), (42, 1), (42, 2), (41, 0), (0, 0)]
    frame = requests(*((0.0, 1.0, "GET /a/", "", worker, thread) for worker, thread in rows))
    shares = figures.worker_shares(frame)
    assert [(share.pid, share.requests, share.threads) for share in shares] == [(42, 4, 3), (41, 2, 1)]
    assert figures.worker_shares(frame[frame["worker"] == 0]) == []


@pytest.mark.parametrize(("without", "number"), [(frozenset(), 3), (frozenset({"GET /health/"}), 2)])
def test_requests_that_touch_the_database(without: frozenset[str], number: int) -> None:
    names = ("GET /health/", "GET /a/", "GET /a/")
    frame = requests(*((0.0, 1.0, name, "", 1, 0) for name in names)).astype({"endpoint": "category"})
    assert figures.database_requests(frame, without) == number
