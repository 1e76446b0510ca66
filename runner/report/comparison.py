"""The comparison tables as frames, and as Markdown, CSV and JSON: one row a cell, medians over blocks."""

import json
from collections.abc import Iterable
from typing import Any, Literal

import pandas as pd

from runner.analysis.model import (
    ArrivalNumbers,
    CellSummary,
    Change,
    ClientNumbers,
    ComponentNumbers,
    LatencyNumbers,
    Ratio,
    Summary,
)
from runner.analysis.ratios import CAPACITY, RATIO_METRICS, SERVICE
from runner.errors import UsageError
from runner.report.wording import (
    NOTHING,
    database_of,
    middle,
    predicted_peak,
    server_of,
    setting_of,
    three_digits,
    unknown_lines,
    whole,
)

Format = Literal["md", "csv", "json"]
FORMATS: tuple[Format, ...] = ("md", "csv", "json")

RATIO_TITLES = {
    "throughput_rps": "throughput",
    "latency_ms.p50": "p50",
    "latency_ms.p95": "p95",
    "resources.app.cpu_seconds_per_request": "CPU per request",
    SERVICE: "service p95",
    CAPACITY: "capacity",
}
assert tuple(RATIO_TITLES) == (*RATIO_METRICS, SERVICE, CAPACITY)

_MEGABYTE = 1e-6
_MILLISECONDS = 1e3
_COUNTS = (
    *("errors", "due", "late", "dropped", "peak", "opened", "lingering"),
    *("client_peak", "client_opened", "client_lingering", "clients_waiting"),
)


def comparison_frame(summary: Summary) -> pd.DataFrame:
    """One row a cell. Units are in the columns' names; `predicted` is the peak's; None is "not measured"."""
    rows = [_row(cell) for cell in summary.cells]
    shown = {name for name in _WHERE_MEASURED if any(row.get(name) is not None for row in rows)}
    columns = [name for name in _COLUMNS if name not in _WHERE_MEASURED or name in shown]
    return pd.DataFrame(rows, columns=columns).astype(object).where(lambda frame: frame.notna(), None)


#: Only there where some cell speaks to a pooler.
_CLIENT_COLUMNS = (
    *("client_peak", "client_predicted", "client_opened", "client_lingering"),
    *("clients_waiting", "clients_waited_s"),
)

_COLUMNS = [
    *(
        "id",
        "status",
        "database",
        "server",
        "setting",
        "throughput_rps",
        "capacity_rps",
        "capacity_at_least",
        "p50_ms",
        "p95_ms",
        "p99_ms",
        "service_p50_ms",
        "service_p95_ms",
        "service_p99_ms",
        "due",
        "late",
        "dropped",
        "errors",
    ),
    *("peak", "opened", "opened_per_request", "lingering", "predicted", "as_predicted"),
    *_CLIENT_COLUMNS,
    *("app_cpu_ms_per_request", "database_cpu_ms_per_request", "app_peak_mb", "database_peak_mb", "reason"),
]


#: Only there where some cell's load is open, or some cell speaks to a pooler.
_WHERE_MEASURED = (
    *_CLIENT_COLUMNS,
    *("capacity_rps", "capacity_at_least"),
    *("service_p50_ms", "service_p95_ms", "service_p99_ms", "due", "late", "dropped"),
)


def _row(cell: CellSummary) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": cell.id,
        "status": cell.status,
        "database": database_of(cell),
        "server": server_of(cell),
        "setting": setting_of(cell),
        "reason": cell.reason,
    }
    if cell.metrics is None:
        return row
    metrics, connections = cell.metrics, cell.metrics.connections
    app = metrics.resources.get("app", ComponentNumbers())
    database = metrics.resources.get("database", ComponentNumbers())
    service = metrics.service_ms or LatencyNumbers()
    arrivals = metrics.arrivals or ArrivalNumbers()
    clients, predicted_clients = connections.client or ClientNumbers(), connections.predicted.clients
    return row | {
        "throughput_rps": middle(metrics.throughput_rps),
        "capacity_rps": middle(metrics.capacity_rps),
        "capacity_at_least": metrics.capacity.at_least if metrics.capacity else None,
        "service_p50_ms": middle(service.p50),
        "service_p95_ms": middle(service.p95),
        "service_p99_ms": middle(service.p99),
        "due": middle(arrivals.due),
        "late": middle(arrivals.late),
        "dropped": middle(arrivals.dropped),
        "p50_ms": middle(metrics.latency_ms.p50),
        "p95_ms": middle(metrics.latency_ms.p95),
        "p99_ms": middle(metrics.latency_ms.p99),
        "errors": middle(metrics.errors.total),
        "peak": middle(connections.peak),
        "opened": middle(connections.opened),
        "opened_per_request": middle(connections.opened_per_request),
        "lingering": middle(connections.lingering),
        "predicted": predicted_peak(connections.predicted),
        "as_predicted": connections.as_predicted,
        "client_peak": middle(clients.peak),
        "client_predicted": predicted_peak(predicted_clients) if predicted_clients else None,
        "client_opened": middle(clients.opened),
        "client_lingering": middle(clients.lingering),
        "clients_waiting": middle(clients.waiting_max),
        "clients_waited_s": middle(clients.waited_seconds),
        "app_cpu_ms_per_request": middle(app.cpu_seconds_per_request, _MILLISECONDS),
        "database_cpu_ms_per_request": middle(database.cpu_seconds_per_request, _MILLISECONDS),
        "app_peak_mb": middle(app.peak_memory_bytes, _MEGABYTE),
        "database_peak_mb": middle(database.peak_memory_bytes, _MEGABYTE),
    }


def ratio_frame(summary: Summary) -> pd.DataFrame:
    """One row a cell that has a reference, one column a metric, in words."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for ratio in summary.ratios:
        text = f"{ratio.text}: {ratio.reason}" if ratio.reason else ratio.text
        rows.setdefault((ratio.cell, ratio.reference), {})[RATIO_TITLES[ratio.metric]] = text
    flat = [{"id": cell, "reference": reference, **texts} for (cell, reference), texts in rows.items()]
    return pd.DataFrame(flat, columns=["id", "reference", *ratio_titles(summary.ratios).values()])


def ratio_titles(ratios: Iterable[Ratio | Change]) -> dict[str, str]:
    """The metrics in which these were compared, with their titles, in the order of `RATIO_TITLES`."""
    compared = {ratio.metric for ratio in ratios}
    return {metric: title for metric, title in RATIO_TITLES.items() if metric in compared or metric in RATIO_METRICS}


def table_text(summary: Summary, form: str) -> str:
    """The tables as `md`, `csv` or `json`. CSV is one table: the ratios stand beside their cells."""
    if form == "md":
        return _markdown(summary)
    if form == "csv":
        ratios = ratio_frame(summary).rename(
            columns={name: f"{name} ratio" for name in ratio_titles(summary.ratios).values()}
        )
        return str(comparison_frame(summary).merge(ratios, on="id", how="left").to_csv(index=False))
    if form == "json":
        cells, ratios = comparison_frame(summary), ratio_frame(summary)
        tables = {"cells": cells.to_dict("records"), "ratios": ratios.to_dict("records")}
        return json.dumps(tables, indent=1, ensure_ascii=False) + "\n"
    raise UsageError(f"unknown format {form!r}; known: {', '.join(FORMATS)}")


def _markdown(summary: Summary) -> str:
    cells = comparison_frame(summary)
    for name in cells.columns:
        cells[name] = [_cell_text(name, value) for value in cells[name]]
    parts = [f"## {escaped(summary.run.name)}", *map(escaped, unknown_lines(summary.run)), markdown_table(cells)]
    ratios = ratio_frame(summary)
    if not ratios.empty:
        parts += ["### Beside the reference", markdown_table(ratios)]
    return "\n\n".join(parts) + "\n"


def _cell_text(column: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return NOTHING if value is None else str(value)
    return whole(value) if column in _COUNTS else three_digits(value)


def markdown_table(frame: pd.DataFrame) -> str:
    """A frame of texts as a Markdown table, whatever the texts hold."""
    lines = [
        [str(name).replace("_", " ") for name in frame.columns],
        ["---"] * len(frame.columns),
        *([escaped(str(value)) for value in row] for row in frame.itertuples(index=False)),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """Text that stays text and in its column, whatever a server's message holds."""
    for mark in "\\`*_[]<>|":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
