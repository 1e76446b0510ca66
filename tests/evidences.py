"""Evidence of an attempt in which all is well, for tests that spoil one thing of it."""

from typing import Any

import pandas as pd

from runner.evidence import Aftermath, Evidence, Stretch
from runner.load.generator import Driven
from runner.plan import PlannedAttempt
from runner.sampling.host import KernelCounters
from runner.stacks.app import AppDescription
from runner.stacks.databases.base import Books, Peak
from tests.matrix.examples import age, make_cell

ZERO = 1000.0

APP = AppDescription.model_validate(
    {
        "settings": "shop.settings",
        "wsgi": "shop.wsgi:application",
        "setup": [],
        "ready": "/health/",
        "checks": [
            {"path": "/health/", "database": False},
            {"path": "/products/?page=1"},
            {"path": "/orders/", "method": "POST", "status": 201},
            {"path": "/orders/", "method": "POST", "status": 400, "database": False},
        ],
        "audits": [{"endpoint": "POST /orders/", "table": "orders_order"}],
    }
)


def kernel(at: float = 0.0, **more: Any) -> KernelCounters:
    values: dict[str, Any] = {
        "busy_seconds": 0.0,
        "idle_seconds": 0.0,
        "steal_seconds": 0.0,
        "cpu_pressure_seconds": 0.0,
        "listen_overflows": 0,
        "syn_retransmits": 0,
    }
    return KernelCounters(at=at, **{**values, **more})


def driven(start: float, seconds: float, requests: int, **more: Any) -> Driven:
    """A stretch that is measured from `start` seconds after the attempt's zero."""
    values: dict[str, Any] = {
        "begun": ZERO + start,
        "start": ZERO + start,
        "end": ZERO + start + seconds,
        "stopped": ZERO + start + seconds,
        "steady": True,
        "requests": requests,
        "errors": 0,
        "locust_requests": requests,
        "cpu_seconds": 0.1 * seconds,
        "busiest": 0.1,
        "due": 0,
        "late": 0,
        "dropped": 0,
        "faults": (),
        "script_errors": (),
    }
    return Driven(**{**values, **more})


def stretch(start: float, seconds: float, requests: int, position: int = 0, **more: Any) -> Stretch:
    cpu = {"app": 0.4 * seconds, "database": 0.2 * seconds, "load": 0.1 * seconds}
    after = kernel(seconds, busy_seconds=1.5 * seconds, idle_seconds=0.5 * seconds)
    return Stretch(driven(start, seconds, requests, **more), position, cpu, (kernel(), after))


def evidence(**more: Any) -> Evidence:
    """Two seconds of count with 8 requests, two windows of a second each with 4."""
    values: dict[str, Any] = {
        "cell": make_cell({"engine": "postgres"}, {"kind": "gunicorn", "workers": 2}, age(0)),
        "planned": PlannedAttempt(1, "pg", "cell", 1, 1),
        "group": "pg",
        "app": APP,
        "started_at": "2025-11-21T12:00:00.000+00:00",
        "clock_zero": ZERO,
        "database_bytes": 50_000_000,
        "counted": stretch(1.0, 2.0, 8),
        "peak": Peak(connections=2, slots=3),
        "books": Books(opened=10, refused=0, transactions=12, current=1),
        "windows": [stretch(6.0, 1.0, 4, position=1), stretch(8.0, 1.0, 4)],
    }
    return Evidence(**{**values, **more})


def requests() -> pd.DataFrame:
    """What the load generator recorded in that time: 16 requests, 4 of them orders."""
    rows = []
    for window, start, seconds, number in ((-1, 1.0, 2.0, 8), (0, 6.0, 1.0, 4), (1, 8.0, 1.0, 4)):
        for place in range(number):
            endpoint = "POST /orders/" if place % 4 == 0 else "GET /products/"
            offset = start + seconds * place / number
            times = (10.0 + place, 5.0, 0.5, 1.0, 1.5)
            rows.append((window, endpoint, 200, "", 41 + place % 2, 0, offset, offset, *times, 1))
    columns = [
        "window",
        "endpoint",
        "status",
        "error",
        "worker",
        "thread",
        "offset",
        "intended",
        "service_ms",
        "app_ms",
        "pool_ms",
        "connect_ms",
        "sql_ms",
        "opened",
    ]
    return pd.DataFrame(rows, columns=columns).astype({"endpoint": "category"})


def aftermath(**more: Any) -> Aftermath:
    values: dict[str, Any] = {
        "books": Books(opened=20, refused=0, transactions=30, current=0),
        "logged_requests": 16,
        "rows_gained": {"orders_order": 5},  # four of the load's and one of the checks'
    }
    return Aftermath(**{**values, **more})
