"""From a run's folder to tidy frames: one row an attempt, one row a window. Nothing is aggregated here."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from runner.matrix.metrics import METRICS
from runner.results.schema import Arrivals, AttemptRecord, Latency, Waterfall

#: The parts of a stack whose use of the machine is told apart.
COMPONENTS = ("app", "database", "pooler", "load")
QUANTILES = tuple(Latency.model_fields)
ARRIVALS = tuple(Arrivals.model_fields)
#: The parts of a request's time.
TIMES = tuple(Waterfall.model_fields)
#: Every figure of an attempt that is a number: what an expectation can bound, and the slots.

_IDENTITY = ("cell", "block", "attempt", "group", "status", "reason")
_WINDOW = ("cell", "block", "group", "host", "round", "position", "seconds", "requests", "successes", "driven_requests")


def latest_of_each_block(attempts: Sequence[AttemptRecord]) -> list[AttemptRecord]:
    """The last attempt of each cell in each block: a resumed run may have tried a second time."""
    latest: dict[tuple[str, int], AttemptRecord] = {}
    for record in sorted(attempts, key=lambda record: (record.block, record.cell, record.attempt)):
        latest[record.cell, record.block] = record
    return list(latest.values())


def attempts_frame(attempts: Sequence[AttemptRecord]) -> pd.DataFrame:
    """One row an attempt: cell, block, status, reason, and each of `METRICS` (NaN: not measured)."""
    rows = [
        {
            "cell": record.cell,
            "block": record.block,
            "attempt": record.attempt,
            "group": record.group,
            "status": record.verdict.status,
            "reason": record.verdict.reason,
            **attempt_values(record),
        }
        for record in attempts
    ]
    frame = pd.DataFrame(rows, columns=[*_IDENTITY, *METRICS])
    # The copy has all figures in one array: with an array a column, picking rows takes ten times as long.
    return frame.astype(dict.fromkeys(METRICS, float)).copy()


def attempt_values(record: AttemptRecord) -> dict[str, float | None]:
    """One attempt's figures by metric name."""
    connections = record.connections.model_dump() if record.connections else {}
    latency = record.latency_ms.model_dump() if record.latency_ms else {}
    service = record.service_ms.model_dump() if record.service_ms else {}
    arrivals = record.arrivals.model_dump() if record.arrivals else {}
    times = record.waterfall_ms.model_dump() if record.waterfall_ms else {}
    failed = sum(kind.count for kind in record.errors.values())
    values: dict[str, float | None] = {
        "requests": record.requests,
        "throughput_rps": record.throughput_rps,
        "capacity_rps": record.capacity.held_rps if record.capacity else None,
        "errors.total": failed,
        "errors.share": failed / record.requests if record.requests else None,
        **{f"latency_ms.{quantile}": latency.get(quantile) for quantile in QUANTILES},
        **{f"service_ms.{quantile}": service.get(quantile) for quantile in QUANTILES},
        **{f"arrivals.{name}": arrivals.get(name) for name in ARRIVALS},
        **{f"waterfall_ms.{part}": times.get(part) for part in TIMES},
    }
    for name in METRICS:
        if name.startswith("connections."):
            values[name] = _at(connections, name.split(".")[1:])
    values |= _phase_values(record)
    for component in COMPONENTS:
        usage = record.resources.get(component)
        prefix = f"resources.{component}"
        values[f"{prefix}.cpu_seconds_per_request"] = usage.cpu_seconds_per_request if usage else None
        values[f"{prefix}.peak_memory_bytes"] = usage.peak_memory_bytes if usage else None
    return values


def _phase_values(record: AttemptRecord) -> dict[str, float | None]:
    """What faults and commands came to; a recovery that never came is no number, nor is one of no fault."""
    values: dict[str, float | None] = {}
    if record.recovery:
        values["recovery.failed_requests"] = sum(one.failed_requests for one in record.recovery)
        for name in ("seconds_to_first_success", "seconds_to_steady"):
            seconds = [getattr(one, name) for one in record.recovery]
            values[f"recovery.{name}"] = None if None in seconds else max(seconds)
    if record.commands:
        values["commands.failed"] = sum(run.exit_code != 0 for run in record.commands)
    return values


def _at(values: Mapping[str, Any], path: Sequence[str]) -> float | None:
    """The value under nested names; None where one of them is missing."""
    here: Any = values
    for name in path:
        here = None if here is None else here.get(name)
    return None if here is None else float(here)


def windows_frame(attempts: Sequence[AttemptRecord]) -> pd.DataFrame:
    """One row a window of each attempt.

    Columns: cell, block, group, host (its fingerprint), round, position, seconds, requests (answered), successes
    (answered well), driven_requests (lead-in included), p50 … max (milliseconds), service_p95 (the open model's),
    cpu_app … (seconds, lead-in included).
    """
    rows: list[Mapping[str, Any]] = [
        {
            "cell": record.cell,
            "block": record.block,
            "group": record.group,
            "host": record.measured_on,
            "round": window.round,
            "position": window.position,
            "seconds": window.seconds,
            "requests": window.requests,
            "successes": window.requests - window.errors,
            "driven_requests": window.driven_requests,
            **window.latency_ms.model_dump(),
            "service_p95": window.service_ms.p95 if window.service_ms else None,
            **{f"cpu_{name}": window.cpu_seconds.get(name) for name in COMPONENTS},
        }
        for record in attempts
        for window in record.windows
    ]
    figures = [*QUANTILES, "service_p95", *(f"cpu_{name}" for name in COMPONENTS)]
    return pd.DataFrame(rows, columns=[*_WINDOW, *figures]).astype(dict.fromkeys(figures, float))


def capacities_frame(attempts: Sequence[AttemptRecord]) -> pd.DataFrame:
    """One row an attempt whose rate was searched: cell, block, group, host, held, failed.

    Requests a second; NaN: there is none.
    """
    rows = [
        {
            "cell": record.cell,
            "block": record.block,
            "group": record.group,
            "host": record.measured_on,
            "held": record.capacity.held_rps,
            "failed": record.capacity.failed_rps,
        }
        for record in attempts
        if record.capacity is not None
    ]
    return pd.DataFrame(rows, columns=["cell", "block", "group", "host", "held", "failed"]).astype(
        {"held": float, "failed": float}
    )
