"""Each ratio's course over the nights as the numbers of an SVG, the nights marked from which on it was another."""

from collections.abc import Sequence
from dataclasses import dataclass

from runner.analysis.history import Series
from runner.report.comparison import RATIO_TITLES
from runner.report.page.scales import Linear, Log
from runner.report.wording import three_digits

LEFT, TOP, WIDTH, HEIGHT = 4, 4, 240, 44


@dataclass(frozen=True)
class Mark:
    """A change point: where it is, and in words."""

    x: float
    text: str


@dataclass(frozen=True)
class Course:
    """`one` is the height of a ratio of 1, None where it is off the scale."""

    matrix: str
    cell: str
    reference: str
    metric: str
    path: str
    points: Sequence[tuple[float, float]]
    one: float | None
    marks: Sequence[Mark]
    first: str
    last: str
    value: str
    span: str


def courses(series: Sequence[Series]) -> list[Course]:
    """Those that changed first, the latest change before the others; then as the matrix has them."""
    drawn = [(max((shift.date for shift in one.shifts), default=""), _course(one)) for one in series]
    return [course for _, course in sorted(drawn, key=lambda pair: pair[0], reverse=True)]


def _course(series: Series) -> Course:
    low, high = min(series.values) * 0.97, max(series.values) * 1.03
    across = Linear(0, max(len(series.values) - 1, 1), LEFT, LEFT + WIDTH)
    up = Log(low, high, TOP + HEIGHT, TOP)
    points = [(across(night), up(value)) for night, value in enumerate(series.values)]
    places = {date: across(night) for night, date in enumerate(series.dates)}
    return Course(
        matrix=series.key.name,
        cell=series.key.cell,
        reference=series.key.reference,
        metric=RATIO_TITLES.get(series.key.metric, series.key.metric),
        path="".join(f"{'L' if number else 'M'}{x:g} {y:g}" for number, (x, y) in enumerate(points)),
        points=points,
        one=up(1) if low <= 1 <= high else None,
        marks=[
            Mark(
                places[shift.date],
                f"from {shift.date} on {three_digits(shift.after)}× instead of {three_digits(shift.before)}× "
                f"({(shift.factor - 1) * 100:+.0f} %)",
            )
            for shift in series.shifts
        ],
        first=series.dates[0],
        last=series.dates[-1],
        value=f"{three_digits(series.values[-1])}×",
        span=f"{three_digits(min(series.values))}–{three_digits(max(series.values))}×",
    )
