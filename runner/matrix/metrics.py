"""The metrics that an expectation can bound, as summary.json names them."""

_COMPONENTS = ("app", "database", "pooler", "load")

#: Of the app's connections to its pooler, in cells that have one.
CLIENT_COUNTS = (
    "peak",
    "opened",
    "opened_per_request",
    "refused",
    "lingering",
    "waiting_max",
    "waited_seconds",
)

METRICS = (
    "requests",
    "throughput_rps",
    "errors.total",
    "errors.share",
    "capacity_rps",
    *(f"{times}.{name}" for times in ("latency_ms", "service_ms") for name in ("p50", "p90", "p95", "p99", "max")),
    *(f"arrivals.{name}" for name in ("due", "late", "dropped")),
    *(f"waterfall_ms.{name}" for name in ("queue", "pool", "connect", "sql", "app")),
    *(f"connections.{name}" for name in ("peak", "peak_slots", "opened", "opened_per_request", "refused", "lingering")),
    *(f"connections.client.{name}" for name in CLIENT_COUNTS),
    # Of a cell with faults among its phases: failed requests of all of them, seconds of the worst.
    *(f"recovery.{name}" for name in ("failed_requests", "seconds_to_first_success", "seconds_to_steady")),
    "commands.failed",
    *(f"resources.{component}.cpu_seconds_per_request" for component in _COMPONENTS),
    *(f"resources.{component}.peak_memory_bytes" for component in _COMPONENTS),
)
