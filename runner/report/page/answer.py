"""The first screen: for each database what to choose, by how much, how sure that is, and what is broken."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.analysis.decisions import FEWEST_BLOCKS, is_underpowered, would_have_seen
from runner.analysis.model import Answer, ExpectationResult, Ratio
from runner.report.page.cells import cut
from runner.report.page.data import Cell, Database, RunData
from runner.report.phase_lines import phase_lines
from runner.report.wording import (
    answer_title,
    answer_value,
    counted,
    flag_lines,
    predicted_peak,
    run_shortcomings,
    short_certainty,
    three_digits,
    unsound,
    whole,
)


@dataclass(frozen=True)
class Choice:
    """The cell to take, and in words: its gain, how sure that is, what it holds, why it and not one that is level.

    `grade` is "sure", "level", "better" (than the reference; too little is known of others) or "unsure".
    """

    cell: Cell
    rate: str
    gain: str
    beside: str
    interval: str
    sure: str
    grade: str
    level: Sequence[Cell]
    connections: str
    why: str


@dataclass(frozen=True)
class Tile:
    """The best in one metric. `others` are level with it."""

    title: str
    value: str
    unit: str
    cell: Cell
    others: Sequence[Cell]
    certainty: str


@dataclass(frozen=True)
class ServerRow:
    """The quickest setting under one server, as measured."""

    server: str
    cell: Cell
    rate: str
    ratio: str
    is_sure: bool
    peak: str


@dataclass(frozen=True)
class DatabaseAnswer:
    """`choice` is None where nothing could be compared; `reason` then says why, as far as the cells agree on it."""

    database: Database
    choice: Choice | None
    tiles: Sequence[Tile]
    servers: Sequence[ServerRow]
    reason: str


@dataclass(frozen=True)
class Failure:
    """Cells that failed for one reason."""

    status: str
    reason: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class BrokenBound:
    """One bound and the cells that broke it."""

    metric: str
    bound: str
    results: Sequence[tuple[ExpectationResult, Cell | None]]


@dataclass(frozen=True)
class AnswerSection:
    """`statuses` counts the cells that are not ok by what they are instead."""

    shortcomings: Sequence[str]
    unsound: Sequence[tuple[Cell, str]]
    phases: Sequence[str]
    databases: Sequence[DatabaseAnswer]
    statuses: Mapping[str, int]
    failures: Sequence[Failure]
    broken: Sequence[BrokenBound]
    broken_count: int
    expectations: int
    surprising: Sequence[Cell]
    worth_knowing: Sequence[str]
    ok: int
    skipped: int


def answer_section(data: RunData) -> AnswerSection:
    """Everything that a reader must know before scrolling."""
    summary, cells = data.summary, data.cells
    failures = _failures(cells)
    return AnswerSection(
        shortcomings=run_shortcomings(summary.run),
        unsound=[(data.by_id[name], reason) for name, reason in unsound(summary)],
        phases=phase_lines(summary),
        databases=[_database(database) for database in data.databases],
        statuses=Counter(cell.summary.status for cell in cells if cell.summary.status != "ok"),
        failures=failures,
        broken=_broken(data),
        broken_count=sum(not result.holds for result in summary.expectations),
        expectations=len(summary.expectations),
        surprising=[cell for cell in cells if _surprises(cell)],
        worth_knowing=flag_lines(summary),
        ok=sum(cell.summary.status == "ok" for cell in cells),
        skipped=len(data.skipped),
    )


def _failures(cells: Sequence[Cell]) -> list[Failure]:
    """By status and reason: a database that does not start fails many cells at once."""
    reasons: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.summary.status != "ok":
            reasons.setdefault((cell.summary.status, cell.summary.reason), []).append(cell)
    return [Failure(status, reason, found) for (status, reason), found in reasons.items()]


def _broken(data: RunData) -> list[BrokenBound]:
    bounds: dict[tuple[str, str], list[tuple[ExpectationResult, Cell | None]]] = {}
    by_id = data.by_id
    for result in data.summary.expectations:
        if not result.holds:
            bounds.setdefault((result.metric, result.bound), []).append((result, by_id.get(result.cell)))
    return [BrokenBound(metric, bound, results) for (metric, bound), results in bounds.items()]


def _database(database: Database) -> DatabaseAnswer:
    cells = {cell.id: cell for cell in database.cells}
    answers = list(database.answers.values())
    throughput = database.answers.get("throughput_rps")
    return DatabaseAnswer(
        database=database,
        choice=_choice(throughput, cells) if throughput else None,
        tiles=[_tile(answer, cells) for answer in answers],
        servers=_servers(database),
        reason=next((cut(failure.reason, 300) for failure in _failures(database.cells)), ""),
    )


def _choice(answer: Answer, cells: dict[str, Cell]) -> Choice:
    """The quickest cell; of several that cannot be told apart, the one that holds the fewest connections.

    Where too little was measured to tell cells apart, "level" means nothing, and the quickest median stands.
    """
    quickest = cells[answer.cell]
    level = [cells[name] for name in answer.level_with if name in cells]
    told = answer.detectable is not None and not is_underpowered(answer.blocks, answer.detectable)
    alike = [quickest, *level]
    chosen = min(alike, key=_peak) if told and not answer.unknown else quickest
    ratio = chosen.ratios.get("throughput_rps")
    gains = ratio is not None and ratio.verdict == "distinguishable" and (ratio.value or 0) > 1
    sure, grade = _certainty(answer, len(level), told=told, gains=gains)
    return Choice(
        cell=chosen,
        rate=f"{three_digits(_rate(chosen))} requests/s",
        gain=_gain(ratio),
        beside=_beside(chosen, ratio),
        interval=_interval(ratio),
        sure=sure,
        grade=grade,
        level=[cell for cell in alike if cell.id != chosen.id],
        connections=_connections(chosen),
        why="" if chosen is quickest else f"Of the {len(alike)} that are level it holds the fewest connections.",
    )


def _gain(ratio: Ratio | None) -> str:
    if ratio is None or ratio.value is None:
        return ""
    return f"{three_digits(ratio.value)}×"


def _beside(cell: Cell, ratio: Ratio | None) -> str:
    """What the gain is taken to, in words; for a reference, that it is one."""
    if cell.is_reference:
        return "It is the reference: no other setting was shown to be quicker."
    if ratio is None or ratio.value is None:
        return ratio.reason if ratio else "It has no reference to be held against."
    reference = f"the throughput of {_setting_of(ratio.reference, cell)}"
    if ratio.verdict == "distinguishable":
        return reference
    if ratio.verdict == "no interval":
        return f"{reference}, as far as one block can say"
    return f"{reference}, which is {ratio.text}"


def _setting_of(reference: str, cell: Cell) -> str:
    """The reference's setting without what it shares with the cell: `per-request`."""
    prefix = cell.id.removesuffix(cell.setting)
    return reference.removeprefix(prefix) if prefix != cell.id else reference


def _interval(ratio: Ratio | None) -> str:
    if ratio is None or ratio.low is None or ratio.high is None:
        return ""
    return f"95 % interval {three_digits(ratio.low)}–{three_digits(ratio.high)}"


def _certainty(answer: Answer, level: int, *, told: bool, gains: bool) -> tuple[str, str]:
    """`gains`: it is told from its reference, whatever is known of the others."""
    if answer.unknown:
        return f"Not sure: fewer than {FEWEST_BLOCKS} blocks cannot tell cells apart. More blocks would.", "unsure"
    if not level:
        return "Quicker than every other cell of this database: told apart from all of them.", "sure"
    seen = would_have_seen(answer.detectable) if answer.detectable is not None else ""
    if not told:
        others = f"{counted(level, 'other')} may be as quick: underpowered ({seen} in each), more blocks would tell."
        return (f"Quicker than the reference for sure. {others}", "better") if gains else (others, "unsure")
    return f"Not distinguishable from {counted(level, 'other')} ({seen}):", "level"


def _connections(cell: Cell) -> str:
    metrics = cell.summary.metrics
    if metrics is None or metrics.connections.peak is None:
        return "its connections were not counted"
    connections, peak = metrics.connections, metrics.connections.peak
    text = f"holds {whole(peak.value)} {'connection' if peak.value == 1 else 'connections'} at the peak"
    predicted = predicted_peak(connections.predicted)
    said = {True: f", as predicted ({predicted})", False: f", predicted {predicted}", None: ""}
    return text + said[connections.as_predicted]


def _tile(answer: Answer, cells: dict[str, Cell]) -> Tile:
    value, _, unit = answer_value(answer).partition(" ")
    return Tile(
        title=answer_title(answer),
        value=value,
        unit=unit,
        cell=cells[answer.cell],
        others=[cells[name] for name in answer.level_with if name in cells],
        certainty=short_certainty(answer),
    )


def _servers(database: Database) -> list[ServerRow]:
    rows = []
    for server in database.servers:
        measured = [cell for cell in database.cells if cell.server == server and cell.summary.status == "ok"]
        measured = [cell for cell in measured if cell.number_of("throughput_rps") and not _has_failed(cell)]
        if not measured:
            continue
        best = max(measured, key=_rate)
        ratio = best.ratios.get("throughput_rps")
        text = "reference" if best.is_reference else (ratio.text if ratio else "")
        is_sure = ratio is not None and ratio.verdict == "distinguishable"
        peak = best.number_of("connections.peak")
        shown_peak = whole(peak.value if peak else None)
        rows.append(ServerRow(server, best, three_digits(_rate(best)), text, is_sure, shown_peak))
    return rows


def _has_failed(cell: Cell) -> bool:
    total = cell.number_of("errors.total")
    return total is not None and total.high > 0


def _rate(cell: Cell) -> float:
    rate = cell.number_of("throughput_rps")
    return rate.value if rate else 0.0


def _peak(cell: Cell) -> float:
    peak = cell.number_of("connections.peak")
    return peak.value if peak else float("inf")


def _surprises(cell: Cell) -> bool:
    return cell.summary.metrics is not None and cell.summary.metrics.connections.as_predicted is False
