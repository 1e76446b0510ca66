"""The history on a terminal: what each ratio was last, and the nights from which on it was another."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runner.analysis.history import SIGNIFICANCE, Series
from runner.report.comparison import RATIO_TITLES
from runner.report.wording import NOTHING, brief, counted, three_digits

WIDTH = 120


def print_history(series: Sequence[Series], console: Console) -> None:
    """Every series' last ratio, then the shifts, the newest first. It reports; it judges nothing."""
    if not console.is_terminal:
        console.width = WIDTH  # a pipe has no width of its own
    for part in _parts(series):
        console.print(part, width=min(console.width, WIDTH), highlight=False)


def _parts(series: Sequence[Series]) -> Iterator[Text | Table]:
    nights = sorted({date for one in series for date in one.dates})
    if not nights:
        yield Text("No night in the history yet: connbench history add RUN")
        return
    yield Text(f"{counted(len(nights), 'night')}, {nights[0]} to {nights[-1]}; each ratio as last measured", "bold")
    yield _last(series)
    shifts = sorted(
        ((shift, one) for one in series for shift in one.shifts), key=lambda found: found[0].date, reverse=True
    )
    yield Text("\nChanges" if shifts else "\nNo changes.", "bold")
    for shift, one in shifts:
        change = f"{three_digits(shift.before)}× → {three_digits(shift.after)}×"
        title = RATIO_TITLES.get(one.key.metric, one.key.metric)
        yield Text(f"  {shift.date}  {brief(one.key.cell)}, {title}: {change} ({(shift.factor - 1) * 100:+.0f} %)")
    yield Text(
        f"Ratios to the reference measured beside each cell. One series in {1 / SIGNIFICANCE:.0f} that never changed "
        "is listed under changes all the same.",
        "dim",
    )


def _last(series: Sequence[Series]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    seen = {one.key.metric for one in series}
    titles = {metric: title for metric, title in RATIO_TITLES.items() if metric in seen}
    for title in ("matrix", "cell", "reference", "last night", *titles.values()):
        table.add_column(title, overflow="fold")
    rows: dict[tuple[str, str, str], dict[str, Series]] = {}
    for one in series:
        rows.setdefault((one.key.name, one.key.cell, one.key.reference), {})[one.key.metric] = one
    for names, metrics in rows.items():
        last = max(one.dates[-1] for one in metrics.values())
        figures = (
            f"{three_digits(metrics[metric].values[-1])}×" if metric in metrics else NOTHING for metric in titles
        )
        table.add_row(*(Text(brief(name)) for name in names), Text(last), *(Text(figure) for figure in figures))
    return table
