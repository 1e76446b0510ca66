"""The metrics of an attempt by their dotted names, in one place. Imports nothing, so that anyone may import it."""

from dataclasses import dataclass
from typing import Literal

#: The parts of a stack whose use of the machine is told apart.
COMPONENTS = ("app", "database", "load")

QUANTILES = ("p50", "p90", "p95", "p99", "max")


@dataclass(frozen=True)
class Metric:
    """A path inside `metrics` of summary.json, with its unit and the direction in which it is better."""

    name: str
    title: str
    unit: str = ""
    better: Literal["higher", "lower"] | None = "lower"


_CONNECTIONS = (
    Metric("connections.peak", "peak connections"),
    Metric("connections.peak_slots", "peak slots taken on the server"),
    Metric("connections.opened", "connections opened"),
    Metric("connections.opened_per_request", "connections opened per request"),
    Metric("connections.refused", "connections refused"),
    Metric("connections.lingering", "lingering connections"),
)

_RESOURCES = tuple(
    metric
    for component in COMPONENTS
    for metric in (
        Metric(f"resources.{component}.cpu_seconds_per_request", f"CPU per request, {component}", "s"),
        Metric(f"resources.{component}.peak_memory_bytes", f"peak memory, {component}", "bytes"),
    )
)

METRICS: tuple[Metric, ...] = (
    Metric("requests", "requests", better=None),
    Metric("throughput_rps", "throughput", "requests/s", "higher"),
    Metric("errors.total", "failed requests"),
    *(Metric(f"latency_ms.{quantile}", f"latency {quantile}", "ms") for quantile in QUANTILES),
    *_CONNECTIONS,
    *_RESOURCES,
)


def metric_names() -> tuple[str, ...]:
    """Every name that an expectation may put a bound on."""
    return tuple(metric.name for metric in METRICS)
