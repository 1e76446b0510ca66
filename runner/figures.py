"""One attempt's figures from its raw records: exact quantiles and counts, no statistics over attempts."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from runner.load.recorder import COUNT_WINDOW
from runner.results.schema import ErrorKind, Latency, Waterfall, WorkerShare

QUANTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}


def latency(milliseconds: "pd.Series[float]") -> Latency:
    """Exact quantiles: the value itself at rank ⌈q·n⌉, never an interpolation between two."""
    if milliseconds.empty:
        return Latency()
    quantiles = np.quantile(milliseconds.to_numpy(np.float64), list(QUANTILES.values()), method="inverted_cdf")
    figures = {name: round(float(value), 4) for name, value in zip(QUANTILES, quantiles, strict=True)}
    return Latency(**figures, max=round(float(milliseconds.max()), 4))


def waterfall(requests: pd.DataFrame) -> Waterfall | None:
    """Where the time of these requests went, those aside of which the app said nothing; None where it never did."""
    timed = requests[requests["app_ms"] >= 0]
    if timed.empty:
        return None
    names = ("service_ms", "app_ms", "pool_ms", "connect_ms", "sql_ms")
    service, app, *parts = (float(timed[name].to_numpy(np.float64).mean()) for name in names)
    queue = round(service - app, 4)
    if (timed["sql_ms"] < 0).any():
        return Waterfall(queue=queue, app=round(app, 4))
    pool, connect, sql = (round(part, 4) for part in parts)
    return Waterfall(queue=queue, pool=pool, connect=connect, sql=sql, app=round(app - sum(parts), 4))


def response_ms(requests: pd.DataFrame) -> "pd.Series[float]":
    """Milliseconds from the moment when a request was due to its answer; in the closed model, its service time."""
    return requests["service_ms"] + (requests["offset"] - requests["intended"]) * 1000


def due_between(requests: pd.DataFrame, start: float, end: float) -> pd.DataFrame:
    """The requests that were due in [start, end), whenever they were answered: what the open model looks at."""
    return requests[(requests["intended"] >= start) & (requests["intended"] < end)]


def answered_between(requests: pd.DataFrame, start: float, end: float) -> pd.DataFrame:
    """The requests answered in [start, end), both in seconds on the attempt's clock."""
    answered = requests["offset"] + requests["service_ms"] / 1000
    return requests[(answered >= start) & (answered < end)]


def error_kinds(requests: pd.DataFrame, examples: Mapping[str, str]) -> dict[str, ErrorKind]:
    """Failed requests by kind, over the whole attempt."""
    failed = requests[requests["error"] != ""]
    counts = failed["error"].astype(str).value_counts()
    return {
        str(kind): ErrorKind(count=int(count), example=examples.get(str(kind), "")) for kind, count in counts.items()
    }


def worker_shares(requests: pd.DataFrame) -> list[WorkerShare]:
    """What each worker process answered, the busiest first."""
    known = requests[requests["worker"] > 0]
    groups = known.groupby("worker")["thread"].agg(["size", "nunique"]).sort_values("size", ascending=False)
    rows = groups.reset_index().itertuples(index=False)
    return [WorkerShare(pid=int(pid), requests=int(size), threads=int(threads)) for pid, size, threads in rows]


def database_requests(requests: pd.DataFrame, without: frozenset[str]) -> int:
    """Requests to endpoints that touch the database."""
    return int((~requests["endpoint"].astype(str).isin(without)).sum())


__all__ = [
    "COUNT_WINDOW",
    "answered_between",
    "database_requests",
    "error_kinds",
    "latency",
    "waterfall",
    "worker_shares",
]
