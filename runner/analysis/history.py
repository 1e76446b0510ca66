"""The history of nightly runs: a small file a night with its ratios, and the nights from which on they were others.

Ratios to a reference that ran beside the cell, because absolute figures drift with their host from night to night: on
autocorrelated series (AR(0.3)) the same search names a change in one of three where there is none.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runner.analysis.model import Summary
from runner.analysis.ratios import Comparison
from runner.analysis.summary import sound_comparison, summarise
from runner.errors import UsageError
from runner.models import Strict
from runner.results.schema import SCHEMA_VERSION
from runner.results.store import RunFolder, read_json, write_json

#: How often a series in which nothing changes may be said to have changed.
SIGNIFICANCE = 0.01
#: Nights on either side of a change: fewer are an outlier.
SHORTEST_SEGMENT = 5
PERMUTATIONS = 199
#: Most series have no change, which the first few orders show already.
_IN_TURN = (9, 40, 150)
#: Decimals that are kept: the files are committed.
_DIGITS = 5


class NightRatio(Strict):
    """A cell beside its reference; `spread` is the standard deviation of the blocks' log-ratios."""

    cell: str
    reference: str
    metric: str
    value: float
    spread: float | None
    n: int


class Night(Strict):
    """results/history/<date>.json"""

    schema_version: int = SCHEMA_VERSION
    date: str
    run: str
    name: str
    matrix_hash: str
    host: str
    versions: Mapping[str, str]
    databases: Mapping[str, str]
    ratios: Sequence[NightRatio]


class SeriesKey(NamedTuple):
    """What makes one series over nights: the matrix's name, the cell, its reference, the metric."""

    name: str
    cell: str
    reference: str
    metric: str


@dataclass(frozen=True)
class Shift:
    """From the night of `date` on, a ratio is `factor` times what it was; up to the next shift, or the end."""

    date: str
    before: float
    after: float

    @property
    def factor(self) -> float:
        return self.after / self.before


@dataclass(frozen=True)
class Series:
    """One ratio over the nights that have it, and where it shifted."""

    key: SeriesKey
    dates: Sequence[str]
    values: Sequence[float]
    shifts: Sequence[Shift]


def night_of(folder: RunFolder) -> Night:
    """What the history keeps of a run."""
    summary = summarise(folder)
    if not summary.run.finished:
        raise UsageError(f"{folder.path}: this run was cut off; the history takes whole runs alone")
    ratios = list(_ratios(summary, sound_comparison(folder)))
    if not ratios:
        raise UsageError(f"{folder.path}: no ratio in it, so there is nothing for the history to keep")
    return Night(
        date=summary.run.started_at[:10],
        run=summary.run.folder,
        name=summary.run.name,
        matrix_hash=summary.run.matrix_hash,
        host=summary.run.host.fingerprint,
        versions=summary.run.versions,
        databases={record.name: record.product for record in summary.run.databases},
        ratios=ratios,
    )


def _ratios(summary: Summary, comparison: Comparison) -> Iterable[NightRatio]:
    for ratio in summary.ratios:
        if ratio.value is not None:
            logs = comparison.log_ratios(ratio.cell, ratio.reference, ratio.metric).to_list()
            yield NightRatio(
                cell=ratio.cell,
                reference=ratio.reference,
                metric=ratio.metric,
                value=round(ratio.value, _DIGITS),
                spread=round(statistics.stdev(logs), _DIGITS) if len(logs) > 1 else None,
                n=ratio.n,
            )


def add_night(history: Path, night: Night) -> Path:
    """Writes the night's file; the same run may be added again, another one of the same date may not."""
    path = history / f"{night.date}.json"
    if path.exists() and (kept := read_json(path, Night).run) != night.run:
        raise UsageError(f"{path}: this night has a run already ({kept}); delete the file to put {night.run} there")
    history.mkdir(parents=True, exist_ok=True)
    write_json(path, night)
    return path


def read_history(history: Path) -> list[Night]:
    """Every night, in the order of their dates."""
    return sorted((read_json(path, Night) for path in history.glob("*.json")), key=lambda night: night.date)


def series_of(nights: Iterable[Night]) -> list[Series]:
    """Each ratio's way through the nights; a night without it is left out of it."""
    points: dict[SeriesKey, list[tuple[str, float]]] = {}
    for night in nights:
        for ratio in night.ratios:
            key = SeriesKey(night.name, ratio.cell, ratio.reference, ratio.metric)
            points.setdefault(key, []).append((night.date, ratio.value))
    return [_series(key, *zip(*found, strict=True)) for key, found in points.items()]


def _series(key: SeriesKey, dates: Sequence[str], values: Sequence[float]) -> Series:
    logs = [math.log(value) for value in values]
    starts = change_points(logs)
    borders = [0, *starts, len(logs)]
    levels = [math.exp(statistics.fmean(logs[start:end])) for start, end in pairwise(borders)]
    shifts = [Shift(dates[start], *sides) for start, sides in zip(starts, pairwise(levels), strict=True)]
    return Series(key, dates, values, shifts)


def change_points(values: Sequence[float], seed: int = 0) -> list[int]:
    """The indices at which a new level begins, by E-divisive means.

    The split whose two sides are farthest apart in energy distance is kept if fewer than SIGNIFICANCE of random orders
    of the same values have one as far apart; each side is then searched in the same way. Matteson and James, "A
    Nonparametric Approach for Multiple Change Point Analysis of Multivariate Data", JASA 109 (2014); for benchmarks:
    Daly et al., "The Use of Change Point Detection to Identify Software Performance Regressions", ICPE 2020.
    """
    return sorted(_splits(np.asarray(values, float), np.random.default_rng(seed)))


def _splits(values: NDArray[np.float64], random: np.random.Generator, offset: int = 0) -> Iterable[int]:
    if len(values) < 2 * SHORTEST_SEGMENT:
        return
    levels, ranks = np.unique(values, return_inverse=True)
    splits, (farthest,) = _farthest(levels, ranks[None, :])
    split, as_far = int(splits[0]), 0
    for orders in _IN_TURN:
        shuffled = random.permuted(np.tile(ranks, (orders, 1)), axis=1)
        as_far += int((_farthest(levels, shuffled)[1] >= farthest).sum())
        # Whatever the orders that are left would say.
        if (as_far + 1) / (PERMUTATIONS + 1) > SIGNIFICANCE:
            return
    yield offset + split
    yield from _splits(values[:split], random, offset)
    yield from _splits(values[split:], random, offset + split)


def _farthest(levels: NDArray[np.float64], ranks: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each row: the split with the largest scaled energy distance between its sides (equation 5), and that.

    Every row has the same values, as `ranks` among their `levels`.
    """
    n = ranks.shape[1]
    sizes = np.arange(SHORTEST_SEGMENT, n - SHORTEST_SEGMENT + 1)
    to_all = _to_all(levels, ranks[0])
    left = _to_earlier(levels, ranks).cumsum(axis=1)[:, sizes - 1]
    across = to_all[ranks].cumsum(axis=1)[:, sizes - 1] - 2 * left
    right = to_all[ranks[0]].sum() / 2 - left - across
    others = n - sizes
    energy = 2 * across / (sizes * others) - 2 * left / (sizes * (sizes - 1)) - 2 * right / (others * (others - 1))
    scaled = energy * sizes * others / n
    best = scaled.argmax(axis=1)
    return sizes[best], scaled[np.arange(len(ranks)), best]


def _to_all(levels: NDArray[np.float64], ranks: NDArray[np.intp]) -> NDArray[np.float64]:
    """The sum of each level's distances to all values."""
    counts = np.bincount(ranks, minlength=len(levels))
    below, under = counts.cumsum(), (counts * levels).cumsum()
    distances: NDArray[np.float64] = levels * (2 * below - len(ranks)) + under[-1] - 2 * under
    return distances


def _to_earlier(levels: NDArray[np.float64], ranks: NDArray[np.intp]) -> NDArray[np.float64]:
    """The sum of each value's distances to all before it in its row, in O(n log² n): 1,000 nights are a million pairs.

    As in a merge sort: of two neighbouring stretches, every value of the second one is held against the sorted first.
    """
    n = ranks.shape[1]
    width = 1 << max(n - 1, 0).bit_length()
    # What is appended comes last, and so is earlier than nothing.
    padded = np.pad(ranks, ((0, 0), (0, width - n)))
    sums = np.zeros(padded.shape)
    for size in (1 << level for level in range(width.bit_length() - 1)):
        first, second = np.moveaxis(padded.reshape(-1, 2, size), 1, 0)
        # The stretches' ranks one after the other, so that one search serves them all.
        places = np.arange(len(first))[:, None]
        ordered = np.sort(first, axis=1)
        keys = ordered + places * len(levels)
        below = np.searchsorted(keys.ravel(), (second + places * len(levels)).ravel()).reshape(-1, size)
        below -= places * size
        reached = np.zeros((len(first), size + 1))
        levels[ordered].cumsum(axis=1, out=reached[:, 1:])
        under = reached[places, below]
        sums.reshape(-1, 2, size)[:, 1] += levels[second] * (2 * below - size) + reached[:, -1:] - 2 * under
    return sums[:, :n]
