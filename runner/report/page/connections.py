"""Connections over time: a small chart for each cell, on one scale a database, and the series behind the zoom."""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from runner.report.page.data import Cell, Database, RunData
from runner.report.page.samples import STATES, Clients, Samples, clients_of, samples_of
from runner.report.page.speed import SpeedPoint, speed_of
from runner.report.page.timeline import Axes, Chart, axes_for, draw, points_for, tallest, watched
from runner.results.store import read_frame

#: Points of a zoomed series at most, and what all series of a page may have together.
_MOST_ZOOMED, _ALL_ZOOMED = 1200, 60_000


@dataclass(frozen=True)
class Figure:
    """A cell's chart; `states` is its twin in figures: the mean of each state by phase."""

    cell: Cell
    chart: Chart | None
    states: Sequence[tuple[str, Mapping[str, float]]]
    seen: int


@dataclass(frozen=True)
class DatabaseFigures:
    database: Database
    axes: Axes
    figures: Sequence[Figure]


@dataclass(frozen=True)
class ConnectionsSection:
    """`series` is the data of the zoom, deflated: cell number to columns. `is_thinned`: some points are left out."""

    databases: Sequence[DatabaseFigures]
    series: str
    is_thinned: bool
    has_pooler: bool


@dataclass(frozen=True)
class _Course:
    """One cell's shown attempt as it was recorded."""

    cell: Cell
    samples: Samples
    speed: Sequence[SpeedPoint]
    clients: Clients | None = None


def connections_section(data: RunData) -> ConnectionsSection:
    """Reads the samples of one attempt a cell."""
    most = points_for(len(data.cells))
    databases, series, longest, has_pooler = [], {}, 0, False
    for database in data.databases:
        courses = [_course(cell) for cell in database.cells]
        axes = _axes(database, courses)
        databases.append(DatabaseFigures(database, axes, [_figure(database, axes, one, most) for one in courses]))
        for course in courses:
            longest = max(longest, len(course.samples))
            has_pooler = has_pooler or course.clients is not None
            if len(course.samples) and course.cell.shown is not None:
                series[str(course.cell.number)] = _series(course, database, len(data.cells))
    return ConnectionsSection(databases, _packed(series), is_thinned=longest > most, has_pooler=has_pooler)


def _course(cell: Cell) -> _Course:
    if cell.shown is None:
        return _Course(cell, samples_of(pd.DataFrame()), [])
    folder = cell.folders[cell.shown.block]
    return _Course(
        cell=cell,
        samples=samples_of(read_frame(folder / "samples.parquet")),
        speed=speed_of(cell.shown, folder),
        clients=clients_of(read_frame(folder / "pooler.parquet")),
    )


def _axes(database: Database, courses: Sequence[_Course]) -> Axes:
    seen = max((tallest(one.samples, one.cell.shown.phases) for one in courses if one.cell.shown), default=0)
    held = [int(one.clients.connected.max()) for one in courses if one.clients is not None and one.clients.offsets.size]
    seen = max([seen, *held])
    bounds = [bound for one in courses if (bound := _predicted(one.cell)) is not None]
    limits = [database.max_connections] if database.max_connections is not None else []
    return axes_for(seen, [*bounds, *limits], [point for one in courses for point in one.speed])


def _predicted(cell: Cell) -> int | None:
    return cell.summary.metrics.connections.predicted.max if cell.summary.metrics else None


def _figure(database: Database, axes: Axes, course: _Course, most: int) -> Figure:
    cell, record = course.cell, course.cell.shown
    if record is None or not len(course.samples):
        return Figure(cell, None, [], 0)
    bounds = (_predicted(cell), database.max_connections)
    chart = draw(course.samples, record.phases, axes, bounds, course.speed, most, course.clients)
    return Figure(cell, chart, _means(course), tallest(course.samples, record.phases))


def _means(course: _Course) -> list[tuple[str, Mapping[str, float]]]:
    """The mean number of sessions in each state, by the name of the phase."""
    assert course.cell.shown is not None
    phases = watched(course.cell.shown.phases)
    means: list[tuple[str, Mapping[str, float]]] = []
    for name in dict.fromkeys(phase.name for phase in phases):
        seen = np.concatenate([course.samples.within(phase).states for phase in phases if phase.name == name])
        if len(seen):
            means.append((name, dict(zip(STATES, seen.mean(axis=0).tolist(), strict=True))))
    return means


def _series(course: _Course, database: Database, cells: int) -> dict[str, Any]:
    """Columns for the zoom. Time is in hundredths of a second along the drawn stretches, which follow each other."""
    assert course.cell.shown is not None
    phases = watched(course.cell.shown.phases)
    most = max(60, min(_MOST_ZOOMED, _ALL_ZOOMED // max(cells, 1)))
    times: list[int] = []
    columns: dict[str, list[int]] = {state: [] for state in STATES}
    marks, begun = [], 0.0
    speed: list[tuple[int, int, int | None]] = []
    for phase in phases:
        marks.append([round(begun * 100), phase.name])
        share = max(8, round(most * phase.seconds / sum(each.seconds for each in phases)))
        part = course.samples.within(phase).thinned(share)
        times += [round((begun + offset - phase.offset) * 100) for offset in part.offsets.tolist()]
        for state, values in zip(STATES, part.states.T.tolist(), strict=True):
            columns[state] += values
        speed += [
            (
                round((begun + p.offset - phase.offset + p.seconds / 2) * 100),
                round(p.rate),
                None if p.p95_ms is None else round(p.p95_ms),
            )
            for p in course.speed
            if phase.offset - 1e-6 <= p.offset < phase.offset + phase.seconds
        ]
        begun += phase.seconds
    steps = [after - before for before, after in zip([0, *times], times, strict=False)]
    return {
        "t": steps,
        "s": [columns[state] for state in STATES],
        "v": [list(column) for column in zip(*speed, strict=True)],
        "m": marks,
        "b": [_predicted(course.cell), database.max_connections],
    }


def _packed(series: Mapping[str, Any]) -> str:
    text = json.dumps(series, separators=(",", ":"), sort_keys=True)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()
