"""The tables on a terminal: what a user sees first. They fit in 120 columns, and in fewer by taking turns."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from runner.analysis.model import CellSummary, Ratio, Summary
from runner.analysis.soundness import why_unsound
from runner.report.comparison import RATIO_TITLES, ratio_titles, table_text
from runner.report.phase_lines import phase_lines
from runner.report.wording import (
    NO_CHOICE,
    NOTHING,
    answer_certainty,
    answer_ratio,
    answer_title,
    answer_value,
    best_cells,
    brief,
    broken_bound,
    counted,
    database_of,
    expectations_sentence,
    few,
    figure,
    flag_lines,
    middle,
    per_request,
    predicted_peak,
    prediction_mark,
    product_of,
    server_of,
    setting_of,
    short_verdict,
    shortcomings,
    three_digits,
    time_sentence,
    verdict_legend,
    whole,
)

__all__ = ["print_tables", "table_text"]

WIDTH = 120
#: What the names of server and setting may take at most before they are folded.
_NAMES_WIDTH = 40
#: `1.84× (1.79–1.90)` and the gap after it.
_RATIO_WIDTH = 18
_BEST = "bold green"
_BAD = "red"
_QUIET = "dim"


@dataclass(frozen=True)
class Column:
    """Figures under a title of two lines. `path`: its name in summary.json; `factor`: to its unit."""

    title: str
    width: int
    path: str
    show: Callable[[float | None], str] = three_digits
    factor: float = 1.0


_SPEED = (
    Column("req/s\n", 6, "throughput_rps"),
    Column("p50\nms", 5, "latency_ms.p50"),
    Column("p95\nms", 5, "latency_ms.p95"),
    Column("p99\nms", 5, "latency_ms.p99"),
    Column("failed\nreq.", 6, "errors.total", whole),
)
_CONNECTIONS = (
    Column("peak\nconn.", 5, "connections.peak", whole),
    Column("pre-\ndicted", 6, "connections.predicted"),
    Column("opened\n", 6, "connections.opened", whole),
    Column("opened\n/req.", 6, "connections.opened_per_request", per_request),
    Column("linger\n", 6, "connections.lingering", whole),
)
#: Where the app speaks to a pooler: the columns before are the pooler's side to the database.
_CLIENTS = (
    Column("client\npeak", 6, "connections.client.peak", whole),
    Column("pre-\ndicted", 6, "connections.client.predicted"),
    Column("client\nopened", 6, "connections.client.opened", whole),
    Column("client\nlinger", 6, "connections.client.lingering", whole),
    Column("most\nwaiting", 7, "connections.client.waiting_max", whole),
    Column("waited\ns", 6, "connections.client.waited_seconds"),
)
_COST = (
    Column("app\nCPU ms", 6, "resources.app.cpu_seconds_per_request", factor=1e3),
    Column("db\nCPU ms", 6, "resources.database.cpu_seconds_per_request", factor=1e3),
    Column("app\nMB", 4, "resources.app.peak_memory_bytes", factor=1e-6),
    Column("db\nMB", 4, "resources.database.peak_memory_bytes", factor=1e-6),
)
_OPEN = (
    Column("capac.\nreq/s", 7, "capacity_rps"),
    Column("serv.\np50", 5, "service_ms.p50"),
    Column("serv.\np95", 5, "service_ms.p95"),
    Column("serv.\np99", 5, "service_ms.p99"),
    Column("due\n", 6, "arrivals.due", whole),
    Column("late\n", 5, "arrivals.late", whole),
    Column("drop-\nped", 5, "arrivals.dropped", whole),
)
_OPEN_LEGEND = (
    " Open load: latency counts from when a request was due, service time from when it left; late: left 10 ms or more "
    "after it was due, dropped: never left. "
    "Capacity: the highest rate held under the service level; ≥: no more was tried."
)
_LEGEND = (
    "req/s, latency and CPU per request: the windows; connections: the count, by the database's own books; "
    "MB: peak memory."
)


def print_tables(summary: Summary, console: Console) -> None:
    """Everything that a user is told at the end of a run, on `console`."""
    if not console.is_terminal:
        console.width = WIDTH  # a pipe has no width of its own
    width = min(console.width, WIDTH)
    for part in _parts(summary, width):
        console.print(part, width=width, highlight=False)


def _parts(summary: Summary, width: int) -> Iterator[Table | Text | Padding]:
    best = best_cells(summary)
    yield _title(summary)
    for database, cells in _by_database(summary):
        yield Text(f"{database}  {product_of(summary, database)}".rstrip(), "bold")
        for columns in _packed(_groups(cells), width - _names_width(cells)):
            yield _figures(cells, columns, best)
            yield Text()
    yield Text(_legend(summary, best), _QUIET)
    if summary.ratios:
        yield Text(f"\nBeside {_references(summary)}, server by server", "bold")
        yield from _ratios(summary, width)
        yield Text(_ratio_legend(summary), _QUIET)
    yield from _closing(summary)


def _title(summary: Summary) -> Text:
    run = summary.run
    skipped = sum(cell.status == "skipped" for cell in summary.cells)
    parts = [
        run.name,
        counted(len(summary.cells) - skipped, "cell"),
        counted(run.blocks, "block"),
        run.host.cpu,
    ]
    parts.append(counted(run.host.cores, "core"))
    title = Text("connbench  ", "bold").append(brief(" · ".join(parts)), "not bold")
    for line in shortcomings(summary):
        title.append(f"\n{line}", "yellow")
    return title.append("\n")


def _by_database(summary: Summary) -> list[tuple[str, list[CellSummary]]]:
    """The cells that have figures, in the order of the matrix."""
    groups: dict[str, list[CellSummary]] = {}
    for cell in summary.cells:
        if cell.status != "skipped":
            groups.setdefault(database_of(cell), []).append(cell)
    return list(groups.items())


def _names_width(cells: Sequence[CellSummary]) -> int:
    servers = max(len(server_of(cell)) for cell in cells)
    return min(servers + 1 + max(_setting(cell).cell_len for cell in cells), _NAMES_WIDTH)


def _groups(cells: Sequence[CellSummary]) -> list[Sequence[Column]]:
    """The groups of columns; what only an open load has, where there is one."""
    measured = [column for column in _OPEN if any(figure(cell, column.path) for cell in cells)]
    pooled = any(figure(cell, _CLIENTS[0].path) for cell in cells)
    return [_SPEED, *([measured] if measured else []), _CONNECTIONS, *([_CLIENTS] if pooled else []), _COST]


def _packed(groups: Iterable[Sequence[Column]], width: int) -> Iterator[list[Column]]:
    """Groups of columns side by side as far as they fit, and the others in a table of their own."""
    packed: list[Column] = []
    for group in groups:
        if packed and sum(column.width + 1 for column in [*packed, *group]) > width:
            yield packed
            packed = []
        packed = [*packed, *group]
    yield packed


def _grid() -> Table:
    """A table with the names' columns, drawn with one line under its header."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0), collapse_padding=True)
    table.add_column("server", vertical="bottom", overflow="fold", min_width=6)
    table.add_column("connections", overflow="fold", min_width=11)
    return table


def _figures(cells: Sequence[CellSummary], columns: Sequence[Column], best: dict[str, frozenset[str]]) -> Table:
    table = _grid()
    for column in columns:
        table.add_column(column.title, justify="right", min_width=column.width, no_wrap=True)
    previous = None
    for cell in cells:
        server = server_of(cell)
        if previous not in (None, server):
            table.add_section()
        names = [Text("" if server == previous else brief(server)), _setting(cell)]
        table.add_row(*names, *(_figure(cell, column, best) for column in columns))
        previous = server
    return table


def _setting(cell: CellSummary) -> Text:
    text = Text(brief(setting_of(cell)))
    mark = cell.status if cell.status != "ok" else NO_CHOICE if why_unsound(cell) else ""
    return text.append(f" {mark}", _BAD) if mark else text


def _figure(cell: CellSummary, column: Column, best: dict[str, frozenset[str]]) -> Text:
    if column.path == "connections.predicted":
        return _prediction(cell)
    if column.path == "connections.client.predicted":
        clients = cell.metrics.connections.predicted.clients if cell.metrics else None
        return Text(NOTHING if clients is None else predicted_peak(clients), _QUIET)
    value = middle(figure(cell, column.path), column.factor)
    if column.path == "capacity_rps" and cell.metrics and cell.metrics.capacity and cell.metrics.capacity.at_least:
        return Text(f"≥ {column.show(value)}")
    style = _BEST if cell.id in best.get(column.path, ()) else ""
    if column.path == "errors.total" and value:
        style = _BAD
    return Text(column.show(value), _QUIET if value is None else style)


def _prediction(cell: CellSummary) -> Text:
    if cell.metrics is None:
        return Text(NOTHING, _QUIET)
    connections = cell.metrics.connections
    mark = prediction_mark(connections.as_predicted)
    text = Text(f"{predicted_peak(connections.predicted)} ", _QUIET)
    return text.append(mark or " ", "not dim red" if connections.as_predicted is False else "not dim")


def _ratios(summary: Summary, width: int) -> Iterator[Table]:
    """Every cell beside its reference, in as many tables as the width asks for."""
    names = max(len(ratio.cell) + 1 for ratio in summary.ratios)
    fitting = max(1, (width - min(names, _NAMES_WIDTH)) // _RATIO_WIDTH)
    metrics = list(ratio_titles(summary.ratios))
    for start in range(0, len(metrics), fitting):
        yield _ratio_table(summary, metrics[start : start + fitting])


def _ratio_table(summary: Summary, metrics: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("cell", overflow="fold")
    for metric in metrics:
        table.add_column(RATIO_TITLES[metric], no_wrap=True)
    rows: dict[str, list[Ratio]] = {}
    for ratio in summary.ratios:
        if ratio.metric in metrics:
            rows.setdefault(ratio.cell, []).append(ratio)
    previous = None
    unsound = {cell.id for cell in summary.cells if why_unsound(cell)}
    for cell, ratios in rows.items():
        if previous not in (None, ratios[0].reference):
            table.add_section()
        previous = ratios[0].reference
        name = Text(brief(cell)).append(f" {NO_CHOICE}" if cell in unsound else "", _BAD)
        table.add_row(name, *(_ratio(ratio) for ratio in ratios))
    return table


def _references(summary: Summary) -> str:
    """The connection settings that the cells are compared with: one, unless a run's file was put together by hand."""
    settings = {cell.id: str(cell.axes.get("connection", cell.id)) for cell in summary.cells}
    return " and ".join(sorted({brief(settings.get(ratio.reference, ratio.reference)) for ratio in summary.ratios}))


def _ratio(ratio: Ratio) -> Text:
    return Text(short_verdict(ratio), "" if ratio.verdict in ("distinguishable", "no interval") else _QUIET)


def _legend(summary: Summary, best: dict[str, frozenset[str]]) -> str:
    medians = "Medians over blocks. " if summary.run.blocks > 1 else ""
    green = " Green: the best of a database, and what cannot be told from it." if best else ""
    opened = _OPEN_LEGEND if any(cell.metrics and cell.metrics.arrivals for cell in summary.cells) else ""
    return f"{medians}{_LEGEND}{opened}{green}"


def _ratio_legend(summary: Summary) -> str:
    if all(ratio.low is None for ratio in summary.ratios):
        return "One block: ratios without interval, so nothing says how sure they are."
    family = max(ratio.family for ratio in summary.ratios)
    return f"Ratio (its own 95 % interval over blocks). {verdict_legend(family)}"


def _closing(summary: Summary) -> Iterator[Text | Table | Padding]:
    """The answer, what went wrong, what was left out, and where the time went."""
    if summary.answers:
        yield Text()
        yield _answers(summary)
    yield from _list("Cells that failed", _failures(summary), _BAD)
    yield from _list("Expectations broken", _broken(summary), _BAD)
    yield from _list("Connections not as predicted", _surprises(summary), "yellow")
    yield from _list("Faults and commands", phase_lines(summary), "")
    yield from _list("Worth knowing", flag_lines(summary), "yellow")
    yield from _list("Skipped", _skipped(summary), _QUIET)
    yield Text(f"\n{expectations_sentence(summary)} {time_sentence(summary.run)}".replace("\n ", "\n"))


def _answers(summary: Summary) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for answer in summary.answers:
        best = Text(f"{answer.cell} ", "bold").append(answer_value(answer), "not bold")
        for remark in (answer_ratio(summary, answer), answer_certainty(answer)):
            best.append(f"; {remark}" if remark else "", "not bold dim")
        first = answer.metric == "throughput_rps"
        table.add_row(Text(answer.database if first else "", "bold"), Text(answer_title(answer)), best)
    return table


def _list(title: str, lines: Sequence[str], style: str) -> Iterator[Text | Padding]:
    if lines:
        yield Text(f"\n{title}", f"bold {style}".rstrip())
        for line in lines:
            yield Padding(Text(brief(line)), (0, 0, 0, 2))


def _failures(summary: Summary) -> list[str]:
    bad = [cell for cell in summary.cells if cell.status not in ("ok", "skipped")]
    return [f"{cell.id}: {cell.status}: {cell.reason}" for cell in bad]


def _broken(summary: Summary) -> list[str]:
    return [f"{result.cell}: {broken_bound(result)}" for result in summary.expectations if not result.holds]


def _surprises(summary: Summary) -> list[str]:
    return [
        f"{cell.id}: {cell.metrics.connections.prediction_note}"
        for cell in summary.cells
        if cell.metrics is not None and cell.metrics.connections.as_predicted is False
    ]


def _skipped(summary: Summary) -> list[str]:
    """One line a reason."""
    reasons: dict[str, list[str]] = {}
    for cell in summary.cells:
        if cell.status == "skipped":
            reasons.setdefault(cell.reason, []).append(cell.id)
    return [f"{few(names)}: {reason}" for reason, names in reasons.items()]
