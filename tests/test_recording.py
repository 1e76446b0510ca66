"""From evidence to the record: each figure against a count by hand."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from runner.recording import basic_record, measured_record
from runner.results.schema import Arrivals, AttemptRecord, Latency, SamplerQuality, Verdict, Waterfall
from tests.evidences import ZERO, aftermath, evidence, requests, stretch

SAMPLER = SamplerQuality(asked_per_second=20, taken=100, late=0, achieved_per_second=20, cpu_seconds=0.1)


def record(frame: pd.DataFrame | None = None, after: dict[str, Any] | None = None, **seen: Any) -> AttemptRecord:
    made = measured_record(
        evidence(**seen),
        requests() if frame is None else frame,
        {"HTTP 500": "it broke"},
        aftermath(**(after or {})),
        SAMPLER,
    )
    # A record is read back from a file: what is put into it must pass its own checks.
    return AttemptRecord.model_validate_json(made.model_dump_json())


def spoilt(place: int, **values: Any) -> pd.DataFrame:
    frame = requests()
    for name, value in values.items():
        frame.loc[place, name] = value
    return frame


def test_an_attempt_in_which_all_is_well() -> None:
    found = record()
    assert found.verdict == Verdict(status="ok")
    assert found.flags == []
    assert (found.count_requests, found.count_errors, found.requests, found.errors) == (8, 0, 16, {})
    assert [share.requests for share in found.workers] == [4, 4]
    assert found.sampler == SAMPLER
    assert found.host["busy"] == pytest.approx(0.75)


def test_speed_comes_from_the_windows_alone() -> None:
    """The count's first request takes a second; windows have 10 to 13 ms."""
    found = record(spoilt(0, service_ms=1000.0))
    assert found.throughput_rps == pytest.approx(8 / 2)
    assert found.latency_ms == Latency(p50=11, p90=13, p95=13, p99=13, max=13)
    assert [(window.round, window.position, window.offset) for window in found.windows] == [(0, 1, 6.0), (1, 0, 8.0)]
    assert [(window.seconds, window.requests, window.errors) for window in found.windows] == [(1.0, 4, 0)] * 2


def test_where_the_time_goes_comes_from_the_windows_good_requests() -> None:
    """Service times of 10 to 13 ms, of which the app has five."""
    usual = Waterfall(queue=6.5, pool=0.5, connect=1.0, sql=1.5, app=2.0)
    assert record().waterfall_ms == usual
    assert record(spoilt(0, connect_ms=900.0)).waterfall_ms == usual
    spoiled = record(spoilt(8, error="HTTP 500", status=500)).waterfall_ms
    assert spoiled == usual.model_copy(update={"queue": round(47 / 7, 4)}), "that one took 10 ms"


def test_failures_are_no_speed() -> None:
    found = record(spoilt(8, error="HTTP 500", status=500, service_ms=0.5))
    assert found.throughput_rps == pytest.approx(7 / 2)
    assert found.latency_ms is not None
    assert found.latency_ms.p50 == 12
    assert (found.windows[0].requests, found.windows[0].errors) == (4, 1)
    assert found.errors["HTTP 500"].count == 1
    assert found.errors["HTTP 500"].example == "it broke"
    assert found.requests == 16


def test_what_is_answered_outside_a_window_is_not_in_it() -> None:
    found = record(spoilt(11, service_ms=900.0))
    assert found.windows[0].requests == 3
    assert found.windows[0].driven_requests == 4


def test_without_windows_the_count_gives_latency_and_no_throughput() -> None:
    frame = requests()
    found = record(
        frame[frame["window"] == -1], after={"logged_requests": 8, "rows_gained": {"orders_order": 3}}, windows=[]
    )
    assert found.throughput_rps is None
    assert found.latency_ms == Latency(p50=13, p90=17, p95=17, p99=17, max=17)
    assert found.resources["app"].cpu_seconds_per_request == pytest.approx(0.8 / 8)


def test_connections_are_divided_by_requests_that_touch_the_database() -> None:
    """Eight of the count's and two of the checks; the books of the idle time, not of the end."""
    connections = record().connections
    assert connections is not None
    assert (connections.opened, connections.database_requests, connections.lingering) == (10, 10, 1)
    assert connections.opened_per_request == pytest.approx(1.0)
    assert (connections.peak, connections.peak_slots, connections.transactions) == (2, 3, 12)
    endpoints = requests().astype({"endpoint": str})
    endpoints.loc[[1, 2], "endpoint"] = "GET /health/"
    fewer = record(endpoints).connections
    assert fewer is not None
    assert fewer.database_requests == 8


@pytest.mark.parametrize("missing", ["peak", "books"])
def test_a_count_without_its_books_has_no_connections(missing: str) -> None:
    assert record(**{missing: None}).connections is None


def test_agreement_counts_the_checks_orders_too() -> None:
    agreement = record().agreement
    assert agreement is not None
    assert agreement.audits == {"orders_order": (5, 5)}
    assert (agreement.locust, agreement.unanswered, agreement.server_log) == (16, 0, 16)
    assert (agreement.database_requests, agreement.database_transactions) == (16, 30)


def test_a_request_without_an_answer_is_unanswered_and_no_order() -> None:
    found = record(spoilt(0, status=0, error="ConnectionResetError"), after={"logged_requests": 15})
    assert found.agreement is not None
    assert (found.agreement.locust, found.agreement.unanswered) == (15, 1)
    assert found.agreement.audits == {"orders_order": (4, 5)}, "it may have got there"
    assert found.verdict.status == "ok"


def test_a_missing_row_makes_it_invalid() -> None:
    found = record(after={"rows_gained": {"orders_order": 4}})
    assert found.verdict.status == "invalid"
    assert found.throughput_rps is not None, "the figures are kept"


def test_resources() -> None:
    """CPU over the windows by their requests; the database's memory is its own with what this cell has added."""
    rows = [
        (ZERO + 1.0, "app", 0.1, 100e6),
        (ZERO + 1.2, "app", 0.2, float("nan")),
        (ZERO + 2.0, "app", 0.3, 120e6),
        (ZERO + 1.0, "database", 1.0, 300e6),
        (ZERO + 2.0, "database", 1.0, 330e6),
        (ZERO + 1.0, "load", 0.1, float("nan")),
    ]
    costly = replace(stretch(1.0, 2.0, 8), cpu_seconds={"app": 9.0, "database": 9.0, "load": 9.0})
    resources = record(host_rows=rows, counted=costly).resources
    assert set(resources) == {"app", "database", "load"}
    assert resources["app"].cpu_seconds_per_request == pytest.approx(0.8 / 8)
    assert resources["database"].cpu_seconds_per_request == pytest.approx(0.4 / 8)
    assert resources["app"].peak_memory_bytes == 120_000_000
    assert resources["database"].peak_memory_bytes == 80_000_000
    assert resources["load"].peak_memory_bytes is None


def test_an_attempt_that_never_got_there() -> None:
    found = basic_record(
        evidence(server_command=["gunicorn"], shown_databases={"default": {"PASSWORD": "********"}}),
        Verdict(status="failed", reason="it did not start"),
    )
    assert (found.cell, found.block, found.attempt, found.group) == ("cell", 1, 1, "pg")
    assert (found.verdict.status, found.verdict.reason) == ("failed", "it did not start")
    assert found.server_command == ["gunicorn"]
    assert (found.connections, found.latency_ms, found.windows, found.requests) == (None, None, (), 0)


def test_the_open_model_counts_from_when_requests_were_due() -> None:
    """Requests of the first window that were due 50 ms before they left, and one of them in the window before it."""
    cell = evidence().cell
    load = cell.load.model_copy(update={"model": "open", "rate": 4.0})
    frame = requests()
    first = frame["window"] == 0
    frame.loc[first, "intended"] = frame.loc[first, "offset"] - 0.05
    frame.loc[frame.index[first][0], "intended"] = 5.9
    windows = [stretch(6, 1, 4, 1, due=5, late=3, dropped=1), stretch(8, 1, 4, due=4)]
    found = record(frame, cell=replace(cell, load=load), windows=windows)
    assert found.windows[0].requests == 3
    assert found.latency_ms is not None
    assert found.service_ms is not None
    assert found.latency_ms.max == pytest.approx(63, abs=0.01)
    assert found.service_ms.max == 13
    assert found.arrivals == Arrivals(due=9, late=3, dropped=1)


def test_the_closed_model_has_one_time() -> None:
    found = record()
    assert (found.service_ms, found.arrivals) == (None, None)
