"""Connections over time as the numbers of an SVG, which a template draws: states, phases, bounds, and the speed below.

An attempt stays alive while others are measured. Only the stretches in which it was driven or watched are
drawn, one after the other, so that the axis is theirs and not the wall clock's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runner.report.page.samples import STATES, Clients, Samples
from runner.report.page.scales import Linear, nice_top
from runner.report.page.speed import SpeedPoint
from runner.results.schema import Phase

#: Before and after an attempt is driven or watched.
_UNWATCHED = ("up", "verify", "down")

LEFT, TOP, WIDTH, HEIGHT = 34, 6, 300, 84
SPEED_TOP, SPEED_HEIGHT = 96, 26
BOTTOM = SPEED_TOP + SPEED_HEIGHT
_GAP = 3
#: Steps of a path within a unit.
FINENESS = 2
#: Points drawn of a cell at most, and what all cells of a page may have together.
_MOST_POINTS, _ALL_POINTS, _FEWEST_POINTS = 120, 8_000, 14


@dataclass(frozen=True)
class Area:
    state: str
    path: str


@dataclass(frozen=True)
class Stretch:
    """A part of the axis. `label` is empty for windows after the first."""

    name: str
    label: str
    x: float
    width: float


@dataclass(frozen=True)
class Line:
    y: float
    label: str


@dataclass(frozen=True)
class Axes:
    """What the cells of a database share: the ends of the three scales."""

    connections: int
    rate: int
    p95: int

    @property
    def ticks(self) -> list[Line]:
        """The marks of the connections' axis."""
        scale = Linear(0, self.connections, TOP + HEIGHT, TOP)
        return [Line(scale(value), str(value)) for value in (0, self.connections // 2, self.connections)]


@dataclass(frozen=True)
class Chart:
    """`limit` is the server's max_connections where it is on the scale; `rate` and `p95` are paths below.

    `clients` is the path of the app's connections to a pooler; empty without one.
    """

    stretches: Sequence[Stretch]
    gaps: str
    areas: Sequence[Area]
    bound: Line | None
    limit: Line | None
    rate: str
    p95: str
    clients: str


def points_for(cells: int) -> int:
    """How many points each of so many cells may have, for the page to stay small."""
    return max(_FEWEST_POINTS, min(_MOST_POINTS, _ALL_POINTS // max(cells, 1)))


def watched(phases: Sequence[Phase]) -> list[Phase]:
    """The count, the idle time, the windows and whatever else was watched, in their order."""
    return sorted((p for p in phases if p.name not in _UNWATCHED and p.seconds > 0), key=lambda phase: phase.offset)


def tallest(samples: Samples, phases: Sequence[Phase]) -> int:
    """The most connections that any drawn sample saw."""
    seen = [samples.within(phase) for phase in watched(phases)]
    return max((int(part.totals.max()) for part in seen if len(part)), default=0)


def draw(
    samples: Samples,
    phases: Sequence[Phase],
    axes: Axes,
    bounds: tuple[int | None, int | None],
    speed: Sequence[SpeedPoint] = (),
    most: int = _MOST_POINTS,
    clients: Clients | None = None,
) -> Chart | None:
    """The chart on the scale of `axes`; None where nothing was sampled. `bounds`: predicted, max_connections."""
    parts = watched(phases)
    if not len(samples) or not parts:
        return None
    stretches = _lay_out(parts)
    places = list(zip(parts, stretches, strict=True))
    scale = Linear(0, axes.connections, TOP + HEIGHT, TOP)
    seen = [samples.within(part).thinned(_share(part, parts, most)) for part in parts]
    areas = [
        Area(state, path)
        for index, state in reversed(list(enumerate(STATES)))
        if (path := _outline(seen, places, index + 1, scale))
    ]
    predicted, limit = (None if bound is None or bound > axes.connections else bound for bound in bounds)
    return Chart(
        stretches=stretches,
        gaps="".join(f"M{one.x - _GAP / 2:g} {TOP}v{HEIGHT}" for one in stretches[1:]),
        areas=areas,
        bound=None if predicted is None else Line(scale(predicted), f"predicted at most {predicted}"),
        limit=None if limit is None else Line(scale(limit), f"max_connections {limit}"),
        rate=_speed_line([(p.offset, p.seconds, p.rate) for p in speed], places, axes.rate),
        p95=_speed_line([(p.offset, p.seconds, p.p95_ms) for p in speed], places, axes.p95),
        clients=_clients_line(clients, places, scale),
    )


def axes_for(seen: int, bounds: Sequence[int], speed: Sequence[SpeedPoint]) -> Axes:
    """Scales that hold everything; a bound stretches them this far above what was seen, else it is only named."""
    drawable = [bound for bound in bounds if bound <= seen * 1.5]
    return Axes(
        connections=nice_top(max([seen, *drawable])),
        rate=nice_top(max((point.rate for point in speed), default=0)),
        p95=nice_top(max((point.p95_ms or 0 for point in speed), default=0)),
    )


def _share(part: Phase, parts: Sequence[Phase], most: int) -> int:
    return max(2, round(most * part.seconds / sum(each.seconds for each in parts)))


def _lay_out(parts: Sequence[Phase]) -> list[Stretch]:
    windows = [part for part in parts if part.name == "window"]
    per_second = max(WIDTH - _GAP * (len(parts) - 1), WIDTH / 2) / sum(part.seconds for part in parts)
    gap = min(_GAP, (WIDTH / 2) / max(len(parts) - 1, 1))
    stretches: list[Stretch] = []
    x = float(LEFT)
    for part in parts:
        width = part.seconds * per_second
        label = f"{part.name} {part.seconds:.2g} s"
        if part.name == "window":
            label = f"{len(windows)} × {part.seconds:.2g} s" if part is windows[0] else ""
        stretches.append(Stretch(part.name, label, round(x, 1), round(width, 1)))
        x += width + gap
    return stretches


def _outline(seen: Sequence[Samples], places: Sequence[tuple[Phase, Stretch]], states: int, scale: Linear) -> str:
    """A step curve over each stretch, of the first `states` states together: what was seen holds until the next look.

    In units of `FINENESS` to one because whole numbers are shorter; the template scales the drawing back.
    """
    commands: list[str] = []
    base = round(scale(0) * FINENESS)
    for part, (phase, stretch) in zip(seen, places, strict=True):
        heights = part.states[:, :states].sum(axis=1)
        if not heights.any():
            continue
        offsets = (part.offsets - phase.offset) / phase.seconds
        xs = np.rint((stretch.x + offsets * stretch.width) * FINENESS).astype(int)
        xs[0] = round(stretch.x * FINENESS)
        commands.append(_steps(xs.tolist(), [round(scale(height) * FINENESS) for height in heights.tolist()], base))
        commands.append(f"H{round((stretch.x + stretch.width) * FINENESS)}V{base}Z")
    return "".join(commands)


def _clients_line(clients: Clients | None, places: Sequence[tuple[Phase, Stretch]], scale: Linear) -> str:
    """A step line over each stretch; a pooler is looked at seldom enough that every look is drawn where it changes."""
    if clients is None:
        return ""
    commands = []
    for phase, stretch in places:
        part = clients.within(phase)
        if not part.offsets.size:
            continue
        offsets = (part.offsets - phase.offset) / phase.seconds
        xs = np.rint((stretch.x + offsets * stretch.width) * FINENESS).astype(int).tolist()
        ys = [round(scale(height) * FINENESS) for height in part.connected.tolist()]
        commands.append(_steps(xs, ys, ys[0]) + f"H{round((stretch.x + stretch.width) * FINENESS)}")
    return "".join(commands)


def _steps(xs: Sequence[int], ys: Sequence[int], base: int) -> str:
    commands, here, level = [f"M{xs[0]} {base}"], xs[0], base
    for x, y in zip(xs, ys, strict=True):
        if y != level:
            if x != here:
                commands.append(f"h{x - here}")
            commands.append(f"v{y - level}")
            here, level = x, y
    return "".join(commands)


def _speed_line(
    points: Sequence[tuple[float, float, float | None]], places: Sequence[tuple[Phase, Stretch]], top: int
) -> str:
    """A flat piece for each span of time, at the figure that it had; as fine as the areas are."""
    scale = Linear(0, top, BOTTOM, SPEED_TOP)
    commands = []
    for offset, seconds, value in points:
        place = next(((p, s) for p, s in places if p.offset - 1e-6 <= offset < p.offset + p.seconds), None)
        if place is None or value is None:
            continue
        phase, stretch = place
        start = stretch.x + (offset - phase.offset) / phase.seconds * stretch.width
        end = min(start + seconds / phase.seconds * stretch.width, stretch.x + stretch.width)
        commands.append(f"M{round(start * FINENESS)} {round(scale(value) * FINENESS)}H{round(end * FINENESS)}")
    return "".join(commands)
