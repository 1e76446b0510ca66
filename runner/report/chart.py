"""Connections over time as the numbers of an SVG, which a template draws: states, phases, predicted bound.

An attempt stays alive while others are measured. Only the stretches in which it was driven or watched are
drawn, one after the other, so that the axis is theirs and not the wall clock's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from runner.results.schema import Phase

#: From the axis up. Each is drawn from the axis to the top of its own share, the highest first.
STATES = ("active", "waiting", "idle_in_transaction", "idle")

LEFT, TOP, WIDTH, HEIGHT = 30.0, 8.0, 300.0, 84.0
_GAP = 3.0
#: Samples drawn of one stretch; of more, the fullest of each bin stays.
_MOST_POINTS = 120


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
class Chart:
    stretches: Sequence[Stretch]
    areas: Sequence[Area]
    ticks: Sequence[Line]
    bound: Line | None


def watched(phases: Sequence[Phase]) -> list[Phase]:
    """The count, the idle time and the windows, or the cell's own phases, in their order."""
    shown = ("count", "idle", "window", "drive", "command", "fault")
    return sorted((phase for phase in phases if phase.name in shown), key=lambda phase: phase.offset)


def within(samples: pd.DataFrame, phase: Phase) -> pd.DataFrame:
    """The samples of one phase."""
    if samples.empty:
        return samples
    inside = (samples["offset"] >= phase.offset) & (samples["offset"] < phase.offset + phase.seconds)
    return samples[inside]


def tallest(samples: pd.DataFrame, phases: Sequence[Phase]) -> int:
    """The most connections that any drawn sample saw."""
    seen = [within(samples, phase) for phase in watched(phases)]
    return max((int(part["total"].max()) for part in seen if not part.empty), default=0)


def nice_top(value: float) -> int:
    """The end of an axis: the next 1, 2, 4 or 6 times a power of ten, whose half is a whole number."""
    value = max(value, 2)
    power = int(10 ** math.floor(math.log10(value)))
    return next(step * power for step in (1, 2, 4, 6, 10) if step * power >= value)


def draw(samples: pd.DataFrame, phases: Sequence[Phase], top: int, bound: int | None) -> Chart | None:
    """The chart on a scale from 0 to `top` connections; None where nothing was sampled."""
    parts = watched(phases)
    if samples.empty or not parts:
        return None
    stretches = _lay_out(parts)
    scale = HEIGHT / top
    areas = [
        Area(state, path)
        for index, state in reversed(list(enumerate(STATES)))
        if (path := _outline(samples, parts, stretches, STATES[: index + 1], scale))
    ]
    ticks = [Line(_y(value, scale), str(value)) for value in (0, top // 2, top)]
    line = Line(_y(bound, scale), f"predicted at most {bound}") if bound is not None and bound <= top else None
    return Chart(stretches, areas, ticks, line)


def _lay_out(parts: Sequence[Phase]) -> list[Stretch]:
    windows = [part for part in parts if part.name == "window"]
    per_second = (WIDTH - _GAP * (len(parts) - 1)) / sum(part.seconds for part in parts)
    stretches: list[Stretch] = []
    x = LEFT
    for part in parts:
        width = part.seconds * per_second
        label = f"{part.name} {part.seconds:.2g} s"
        if part.name == "window":
            label = f"{len(windows)} × {part.seconds:.2g} s" if part is windows[0] else ""
        stretches.append(Stretch(part.name, label, round(x, 1), round(width, 1)))
        x += width + _GAP
    return stretches


def _outline(
    samples: pd.DataFrame,
    parts: Sequence[Phase],
    stretches: Sequence[Stretch],
    states: Sequence[str],
    scale: float,
) -> str:
    """A step curve over each stretch: what was seen holds until the next look."""
    base = _y(0, scale)
    commands: list[str] = []
    for part, stretch in zip(parts, stretches, strict=True):
        seen = _thinned(within(samples, part))
        heights = seen[list(states)].sum(axis=1).to_numpy() if not seen.empty else np.array([])
        if not heights.any():
            continue
        places = stretch.x + (seen["offset"].to_numpy() - part.offset) / part.seconds * stretch.width
        places[0] = stretch.x
        commands.append(f"M{stretch.x:g} {base:g}")
        previous = None
        for x, height in zip(places, heights, strict=True):
            if height != previous:
                commands.append(f"H{x:.1f}V{_y(height, scale):g}")
                previous = height
        commands.append(f"H{stretch.x + stretch.width:.1f}V{base:g}Z")
    return "".join(commands)


def _thinned(samples: pd.DataFrame) -> pd.DataFrame:
    if len(samples) <= _MOST_POINTS:
        return samples
    bins = np.arange(len(samples)) * _MOST_POINTS // len(samples)
    fullest = samples["total"].reset_index(drop=True).groupby(bins).idxmax()
    return samples.iloc[fullest.to_numpy()]


def _y(value: float, scale: float) -> float:
    return round(TOP + HEIGHT - value * scale, 1)
