"""Two runs side by side: on a terminal, and as Markdown, CSV and JSON. One row a cell that both measured."""

from collections.abc import Iterator, Sequence

import pandas as pd
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from runner.analysis.model import Change, CountChange, Difference, RunComparison
from runner.errors import UsageError
from runner.report.comparison import FORMATS, RATIO_TITLES, escaped, markdown_table, ratio_titles
from runner.report.wording import NOTHING, brief, few, per_request, short_verdict, verdict_legend, whole

WIDTH = 120
#: Of what differs besides the figures, this many lines are shown on a terminal.
_MOST_DIFFERENCES = 12
_COUNT_TITLES = {
    "connections.peak": "peak conn.",
    "connections.opened_per_request": "opened /req.",
    "connections.lingering": "linger",
}


def refuse_incomparable(result: RunComparison) -> None:
    """A question that has no answer is bad usage, like any other that is refused before anything starts."""
    if result.verdict.status != "incomparable":
        return
    lines = [f"{result.base} and {result.new} are incomparable: {result.verdict.reason}"]
    lines += [f"  {_difference(found)}" for found in result.grave]
    lines.append("Ratios to each run's own reference can be compared all the same: add --ratios")
    raise UsageError("\n".join(lines))


def changes_frame(result: RunComparison) -> pd.DataFrame:
    """One row a cell: each metric's change in words, and each count as `4 → 16`."""
    rows: dict[str, dict[str, str]] = {}
    for change in result.changes:
        row = rows.setdefault(change.cell, {"id": change.cell, "reference": change.reference or ""})
        row[RATIO_TITLES[change.metric]] = f"{change.text}: {change.reason}" if change.reason else change.text
    for count in result.counts:
        rows.setdefault(count.cell, {"id": count.cell, "reference": ""})[_COUNT_TITLES[count.metric]] = _count(count)
    columns = ["id", "reference", *ratio_titles(result.changes).values(), *_COUNT_TITLES.values()]
    return pd.DataFrame(list(rows.values()), columns=columns).fillna("")


def changes_text(result: RunComparison, form: str) -> str:
    """The comparison as `md`, `csv` or `json`; JSON has every figure behind the words."""
    if form == "json":
        return result.model_dump_json(indent=1) + "\n"
    if form == "csv":
        return str(changes_frame(result).to_csv(index=False))
    if form == "md":
        parts = [f"## {escaped(result.base)} → {escaped(result.new)}", _what(result)]
        parts += ["\n".join(f"- {escaped(line)}" for line in _differences(result))] if _differences(result) else []
        parts += [markdown_table(changes_frame(result)), _legend(result)]
        return "\n\n".join(parts) + "\n"
    raise UsageError(f"unknown format {form!r}; known: {', '.join(FORMATS)}")


def print_changes(result: RunComparison, console: Console) -> None:
    """The comparison on `console`, within its width."""
    if not console.is_terminal:
        console.width = WIDTH  # a pipe has no width of its own
    width = min(console.width, WIDTH)
    for part in _parts(result):
        console.print(part, width=width, highlight=False)


def _parts(result: RunComparison) -> Iterator[Text | Table | Padding]:
    yield Text(f"{brief(result.base)} → {brief(result.new)}", "bold")
    yield Text(f"{_what(result)}\n", "dim")
    yield _speeds(result)
    yield Text()
    yield _connections(result)
    yield Text(f"\n{_legend(result)}", "dim")
    lines = _differences(result)
    if lines:
        yield Text("\nWhat else differs", "bold")
    for line in lines[:_MOST_DIFFERENCES]:
        yield Padding(Text(brief(line)), (0, 0, 0, 2))
    if len(lines) > _MOST_DIFFERENCES:
        yield Padding(Text(f"and {len(lines) - _MOST_DIFFERENCES} more: --format json has all"), (0, 0, 0, 2))


def _speeds(result: RunComparison) -> Table:
    table = _grid(["cell", *ratio_titles(result.changes).values()])
    rows: dict[str, list[Change]] = {}
    for change in result.changes:
        rows.setdefault(change.cell, []).append(change)
    for cell, changes in rows.items():
        quiet = ["" if one.verdict in ("distinguishable", "no interval") else "dim" for one in changes]
        texts = [Text(short_verdict(one), style) for one, style in zip(changes, quiet, strict=True)]
        table.add_row(Text(brief(cell)), *texts)
    return table


def _connections(result: RunComparison) -> Table:
    table = _grid(["cell", *_COUNT_TITLES.values()])
    rows: dict[str, dict[str, CountChange]] = {}
    for count in result.counts:
        rows.setdefault(count.cell, {})[count.metric] = count
    for cell, counts in rows.items():
        texts = [
            Text(_count(counts[metric]), "yellow" if counts[metric].changed else "dim")
            if metric in counts
            else Text(NOTHING, "dim")
            for metric in _COUNT_TITLES
        ]
        table.add_row(Text(brief(cell)), *texts)
    return table


def _grid(titles: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _count(count: CountChange) -> str:
    show = per_request if count.metric == "connections.opened_per_request" else whole
    base, new = show(count.base.value), show(count.new.value)
    return f"{base} → {new}" if count.changed else new


def _what(result: RunComparison) -> str:
    if result.ratios:
        return "New / base, each cell first divided by its own run's reference: neither host nor drift is in it."
    return (
        "New / base, blocks of two runs held against each other: how the host drifted from one to the other is in it; "
        "--ratios takes it out."
    )


def _legend(result: RunComparison) -> str:
    family = max((change.family for change in result.changes), default=0)
    speeds = f"Ratio (its own 95 % interval, Welch). {verdict_legend(family)}"
    if not family:
        speeds = "One block in a run: ratios without interval, so nothing says how sure they are."
    return f"{speeds} Connections: as they are, a → b if changed."


def _differences(result: RunComparison) -> list[str]:
    lines = [_difference(found) for found in (*result.grave, *result.differences)]
    for name, cells in (("base", result.only_in_base), ("new", result.only_in_new)):
        if cells:
            lines.append(f"only in {name}: {', '.join(cells)}")
    return lines


def _difference(found: Difference) -> str:
    where = f" in {few(found.cells, 2)}" if found.cells else ""
    return f"{found.field}: {found.base} → {found.new}{where}"
