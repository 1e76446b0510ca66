"""Throughput and p95 along an attempt: its windows as they were, the count in slices."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyarrow import parquet

from runner.results.schema import AttemptRecord, Phase

#: Seconds of a slice of the count; fewer and longer ones where the count is long.
_SLICE, _MOST_SLICES = 0.5, 24
#: What `requests.parquet` calls the count.
_COUNT_WINDOW = -1
_COLUMNS = ["window", "error", "offset", "intended", "service_ms"]


@dataclass(frozen=True)
class SpeedPoint:
    """Successful requests a second, and the p95 of their response times, from `offset` on for `seconds`."""

    offset: float
    seconds: float
    rate: float
    p95_ms: float | None


def speed_of(record: AttemptRecord, folder: Path) -> list[SpeedPoint]:
    """In the order of time. A request belongs to the slice in which it was answered."""
    return [*_count(record, folder / "requests.parquet"), *_windows(record)]


def _windows(record: AttemptRecord) -> list[SpeedPoint]:
    return [
        SpeedPoint(w.offset, w.seconds, (w.requests - w.errors) / w.seconds, w.latency_ms.p95)
        for w in record.windows
        if w.seconds > 0
    ]


def _count(record: AttemptRecord, path: Path) -> list[SpeedPoint]:
    phase = next((phase for phase in record.phases if phase.name == "count"), None)
    if phase is None or phase.seconds <= 0 or not path.exists():
        return []
    table = parquet.read_table(path, columns=_COLUMNS, use_threads=False)
    column = {name: table[name].to_numpy() for name in _COLUMNS if name != "error"}
    good = (column["window"] == _COUNT_WINDOW) & (np.asarray(table["error"]).astype(str) == "")
    answered = column["offset"][good] + column["service_ms"][good] / 1e3
    response_ms = (answered - column["intended"][good]) * 1e3
    return _sliced(phase, answered, response_ms)


def _sliced(phase: Phase, answered: NDArray[np.float64], response_ms: NDArray[np.float64]) -> list[SpeedPoint]:
    slices = int(min(_MOST_SLICES, max(1, phase.seconds // _SLICE)))
    seconds = phase.seconds / slices
    places = np.floor((answered - phase.offset) / seconds).astype(int)
    points = []
    for number in range(slices):
        times = response_ms[places == number]
        p95 = float(np.quantile(times, 0.95, method="inverted_cdf")) if times.size else None
        points.append(SpeedPoint(phase.offset + number * seconds, seconds, times.size / seconds, p95))
    return points
