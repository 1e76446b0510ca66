"""How cells, figures and times are put into words: the same in the terminal, in Markdown and on the page."""

from collections.abc import Mapping, Sequence

from runner.analysis.decisions import FEWEST_BLOCKS, LARGEST_DETECTABLE, is_doubted, is_underpowered, would_have_seen
from runner.analysis.model import (
    Answer,
    CellMetrics,
    CellSummary,
    ExpectationResult,
    FlagSummary,
    Judgement,
    Number,
    RunSummary,
    Summary,
)
from runner.analysis.soundness import why_unsound
from runner.matrix.cells import Prediction

#: Beside a cell that fails its requests, or must.
NO_CHOICE = "broken"
#: What a figure that was not measured looks like.
NOTHING = "–"

_TIME_NAMES = {
    "set-up": "setting up databases",
    "up": "bringing stacks up",
    "verify": "verifying answers",
    "down": "taking stacks down",
    "recording": "writing records",
}
_MEASURING = ("count", "idle", "search", "windows", "phases")
_NAMED_AXES = ("database", "server", "connection")


def database_of(cell: CellSummary) -> str:
    return str(cell.axes.get("database", ""))


def server_of(cell: CellSummary) -> str:
    return str(cell.axes.get("server", ""))


def setting_of(cell: CellSummary) -> str:
    """The connection settings' name, and every further axis as `name=value`."""
    further = [f"{name.rpartition('.')[2]}={value}" for name, value in cell.axes.items() if name not in _NAMED_AXES]
    return " ".join([str(cell.axes.get("connection", "")), *further]).strip()


def three_digits(value: float | None) -> str:
    """Three significant digits, and never fewer than the whole number: 1234, 12.3, 1.23, 0.0123."""
    if value is None:
        return NOTHING
    size = abs(value)
    if size >= 100 or value == 0:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 else f"{value:#.3g}"


def figure(cell: CellSummary, path: str) -> Number | None:
    """A cell's figure by the dotted name that summary.json gives it."""
    here: object = cell.metrics
    for name in path.split("."):
        here = here.get(name) if isinstance(here, Mapping) else getattr(here, name, None)
    return here if isinstance(here, Number) else None


def brief(text: str, most: int = 300) -> str:
    """One line that is safe on a terminal: no control characters, and cut where it grows too long."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def whole(value: float | None) -> str:
    """A count; a median between two counts keeps its half."""
    if value is None:
        return NOTHING
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"


def per_request(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"


def open_sentence(metrics: CellMetrics) -> str:
    """What there is to say of requests that were due on a schedule."""
    said = []
    if metrics.capacity is not None:
        capacity = metrics.capacity
        bound = "at least " if capacity.at_least else ""
        missed = f", {three_digits(capacity.failed.value)} missed it" if capacity.failed else ""
        held = f"{three_digits(capacity.held.value)} requests/s kept the service level{missed}"
        said.append(f"capacity {bound}{held}.")
    if metrics.arrivals is not None:
        due, late, dropped = (whole(middle(getattr(metrics.arrivals, name))) for name in ("due", "late", "dropped"))
        said.append(f"{due} requests were due in the windows, {late} left late, {dropped} never left.")
    if metrics.service_ms is not None:
        times = (
            f"{name} {three_digits(middle(getattr(metrics.service_ms, name)))} ms" for name in ("p50", "p95", "p99")
        )
        said.append(f"Service time from when they left: {', '.join(times)}.")
    return " ".join(said)


def middle(number: Number | None, factor: float = 1.0) -> float | None:
    """The median over blocks in another unit."""
    return None if number is None else number.value * factor


def thousandfold(value: float | None) -> float | None:
    """Seconds as milliseconds."""
    return None if value is None else value * 1e3


def megabytes(value: float | None) -> str:
    return NOTHING if value is None else three_digits(value * 1e-6)


def predicted_peak(predicted: Prediction) -> str:
    """`16`, `4–16`, or `≥ 1` where nothing bounds it."""
    if predicted.max is None:
        return f"≥ {predicted.min}"
    return str(predicted.max) if predicted.min == predicted.max else f"{predicted.min}–{predicted.max}"


def prediction_mark(as_predicted: bool | None) -> str:
    return {True: "✓", False: "✗", None: ""}[as_predicted]


def duration(seconds: float) -> str:
    """`11 min 32 s`, `42 s`, `3.4 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def in_blocks(flag: FlagSummary) -> str:
    return f"block{'s' if len(flag.blocks) > 1 else ''} {', '.join(str(block) for block in flag.blocks)}"


def flag_lines(summary: Summary) -> list[str]:
    """One line a kind of flag: the cells that have it, and the first one's words; then ratios to doubt."""
    raised: dict[str, list[tuple[str, str]]] = {}
    for cell in summary.cells:
        for flag in cell.flags:
            raised.setdefault(flag.code, []).append((cell.id, flag.text))
    lines = [
        f"{code.replace('-', ' ')} in {few([name for name, _ in cells], 3)}: {cells[0][1]}"
        for code, cells in raised.items()
    ]
    doubted = [f"{ratio.metric} of {ratio.cell}" for ratio in summary.ratios if is_doubted(ratio)]
    if doubted:
        lines.append(f"the sign-flip test, which assumes no distribution, does not confirm {few(doubted)}")
    return lines


def counted(count: int, singular: str, plural: str | None = None) -> str:
    return f"{count} {singular if count == 1 else plural or singular + 's'}"


def few(names: Sequence[str], most: int = 4) -> str:
    """The first few of a list, and how many more there are."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def time_items(run: RunSummary) -> list[tuple[str, float]]:
    """Where the time went that was not measuring, the largest first; the unbooked is "everything else"."""
    items = [(_TIME_NAMES.get(name, name), s) for name, s in run.time_spent.items() if name not in _MEASURING]
    items.sort(key=lambda item: -item[1])
    unbooked = (run.wall_seconds or 0) - sum(run.time_spent.values())
    return [*items, ("everything else", unbooked)] if unbooked >= 0.05 else items


def time_sentence(run: RunSummary) -> str:
    """Wall time, the part spent measuring, and the rest by item."""
    if run.wall_seconds is None:
        cut_off = "The run was cut off" if not run.finished else "How long the run took was not written down"
        return f"{cut_off}; {duration(run.measuring_seconds)} of it were measuring."
    share = run.measuring_seconds / run.wall_seconds if run.wall_seconds else 0
    rest = ", ".join(f"{name} {duration(seconds)}" for name, seconds in time_items(run) if seconds >= 0.05)
    measuring = f"{duration(run.measuring_seconds)} measuring ({share * 100:.0f} %)"
    sentence = f"Took {duration(run.wall_seconds)}, of it {measuring}"
    return f"{sentence}; the rest: {rest}." if rest else f"{sentence}."


def short_verdict(judgement: Judgement) -> str:
    """Short enough for four beside each other: `verdict_legend` says what the words stand for."""
    if judgement.value is None:
        return NOTHING
    if judgement.verdict == "no interval":
        return judgement.text.partition(" ")[0]
    short = judgement.text.replace("not distinguishable", "n. d.").replace("underpowered", "u. p.")
    return short.replace("would have seen ", "")


def verdict_legend(family: int) -> str:
    """How `short_verdict` is to be read, where `family` comparisons of a metric were judged together."""
    return (
        f"The {counted(family, 'ratio')} of a column are judged together (Holm): in one run of 20 at most does a "
        "column name a difference where there is none. n. d.: not distinguishable; in brackets the smallest difference "
        f"that would have been seen. u. p.: underpowered: it is above {LARGEST_DETECTABLE * 100:.0f} %, or there are "
        f"fewer than {FEWEST_BLOCKS} blocks, so that finding none says nothing."
    )


def product_of(summary: Summary, database: str) -> str:
    """`PostgreSQL 15.18`, with how far away it was; nothing where the run never got to start it."""
    found = [record for record in summary.run.databases if record.name.partition(".")[0] == database]
    product = found[0].product if found else ""
    hosts = [f"{record.round_trip_ms:.2f}" for record in found if record.round_trip_ms is not None]
    if hosts:
        product += f", on a host {', '.join(hosts)} ms from the app's"
    distances = [record.distance for record in found if record.distance is not None]
    if not distances:
        return product
    measured = ", ".join(f"{one.asked_ms:g} ms ({one.added_ms:.2f} measured)" for one in distances)
    return f"{product}, round trips longer by {measured}, {distances[0].by}"


_ANSWERS = {
    "throughput_rps": ("Highest throughput", "requests/s"),
    "latency_ms.p95": ("Lowest p95 latency", "ms"),
    "connections.peak": ("Fewest connections at the peak", ""),
}


def answer_title(answer: Answer) -> str:
    return metric_title(answer.metric)


def metric_title(metric: str) -> str:
    """What an answer is the best in."""
    return _ANSWERS[metric][0]


def answer_value(answer: Answer) -> str:
    return metric_value(answer.metric, answer.value)


def metric_value(metric: str, value: float) -> str:
    """A figure that is the best in something, with its unit."""
    figure = whole(value) if metric == "connections.peak" else three_digits(value)
    return f"{figure} {_ANSWERS[metric][1]}".strip()


def answer_certainty(answer: Answer) -> str:
    """How far the best can be told from the others, in words."""
    parts = []
    if answer.level_with and answer.detectable is None:
        parts.append(f"level with {few(answer.level_with)}")
    elif answer.level_with and answer.detectable is not None:
        few_blocks = is_underpowered(answer.blocks, answer.detectable)
        word = "underpowered against" if few_blocks else "not distinguishable from"
        parts.append(f"{word} {few(answer.level_with)} ({would_have_seen(answer.detectable)})")
    if answer.unknown:
        parts.append("one block cannot say how sure this is")
    return "; ".join(parts)


def short_certainty(answer: Answer) -> str:
    """The same in a few words, without names."""
    if answer.unknown:
        return "not sure: too few blocks"
    if not answer.level_with:
        return "told apart from all others" if answer.metric != "connections.peak" else "no other as few (exact count)"
    others = counted(len(answer.level_with), "other")
    if answer.detectable is None:
        return f"the same in {others} (exact count)"
    word = "underpowered against" if is_underpowered(answer.blocks, answer.detectable) else "not distinguishable from"
    return f"{word} {others}"


def answer_ratio(summary: Summary, answer: Answer) -> str:
    """How the best cell stands beside its own reference, where the two can be told apart or nothing says."""
    for ratio in summary.ratios:
        same = ratio.cell == answer.cell and ratio.metric == answer.metric
        if same and ratio.verdict in ("distinguishable", "no interval"):
            return f"{ratio.text} beside {ratio.reference}"
    return ""


def expectations_sentence(summary: Summary) -> str:
    """Whether the matrix's bounds held, in one sentence; nothing where there are none."""
    total, broken = len(summary.expectations), sum(not result.holds for result in summary.expectations)
    if not total:
        return ""
    return f"{broken} of {counted(total, 'expectation')} broken." if broken else f"All {total} expectations hold."


def broken_bound(result: ExpectationResult) -> str:
    """What was expected and what was measured instead."""
    return f"expected {result.metric} {result.bound}, {measured_instead(result)}"


def measured_instead(result: ExpectationResult) -> str:
    """`measured 18`, or why nothing was."""
    return result.reason if result.measured is None else f"measured {result.measured:g}"


def best_cells(summary: Summary) -> dict[str, frozenset[str]]:
    """For each metric with an answer, the best cells of each database and those level with them.

    Nothing stands out in speed where one block cannot say how sure it is, nor where all are level.
    """
    best: dict[str, frozenset[str]] = {}
    for answer in summary.answers:
        level = {answer.cell, *answer.level_with}
        ok = {c.id for c in summary.cells if c.status == "ok" and database_of(c) == answer.database}
        if not answer.unknown and level != ok:
            best[answer.metric] = best.get(answer.metric, frozenset()) | level
    return best


def shortcomings(summary: Summary) -> list[str]:
    """What a reader must know before believing the figures at all."""
    no_choice = (f"{name} is no choice, whatever its figures: {reason}" for name, reason in unsound(summary))
    return [*run_shortcomings(summary.run), *no_choice]


def run_shortcomings(run: RunSummary) -> list[str]:
    """What is wrong with the run as a whole."""
    said = []
    if run.finding:
        said.append(f"The run was stopped: {run.finding}")
    elif not run.finished:
        said.append("The run was interrupted: what follows is what it had measured by then.")
    if run.quick:
        windows = "one block and short windows" if run.blocks == 1 else "short windows"
        said.append(f"A quick run: {windows}. Connection counts hold; speeds are a first impression.")
    elif run.blocks == 1:
        said.append("One block only: ratios have no interval, so nothing says how sure they are.")
    return said + unknown_lines(run)


def unknown_lines(run: RunSummary) -> list[str]:
    """What could not be known of the servers that no run had started."""
    return [f"{one.name} was there already ({one.product}): {one.unknown}." for one in run.databases if one.unknown]


def unsound(summary: Summary) -> list[tuple[str, str]]:
    """The cells that nobody should choose although they were measured, each with the reason."""
    return [(cell.id, reason) for cell in summary.cells if cell.status == "ok" and (reason := why_unsound(cell))]
