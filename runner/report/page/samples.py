"""What looking at a database's sessions saw, as arrays: a page looks at many thousands of them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from runner.results.schema import Phase

#: From the axis of a chart up.
STATES = ("active", "waiting", "idle_in_transaction", "idle")


@dataclass(frozen=True)
class Samples:
    """In the order of time. `states` has a row a sample and a column for each of `STATES`."""

    offsets: NDArray[np.float64]
    states: NDArray[np.int64]
    totals: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets)

    def within(self, phase: Phase) -> "Samples":
        """The samples of one phase."""
        begin, end = np.searchsorted(self.offsets, [phase.offset, phase.offset + phase.seconds])
        return self._part(slice(int(begin), int(end)))

    def thinned(self, most: int) -> "Samples":
        """At most about `most`: the emptiest and the fullest of each of as many bins as that allows, in their order."""
        if len(self) <= most:
            return self
        edges = np.linspace(0, len(self), max(most // 2, 1) + 1).astype(int)[:-1]
        parts = np.split(self.totals, edges[1:])
        kept = np.concatenate(
            [[low + part.argmin(), low + part.argmax()] for low, part in zip(edges, parts, strict=True)]
        )
        return self._part(np.unique(kept))

    def _part(self, which: slice | NDArray[np.int64]) -> "Samples":
        return Samples(self.offsets[which], self.states[which], self.totals[which])


@dataclass(frozen=True)
class Clients:
    """What the pooler said of the app's connections to it, in the order of time: all of them, and those that wait."""

    offsets: NDArray[np.float64]
    connected: NDArray[np.int64]
    waiting: NDArray[np.int64]

    def within(self, phase: Phase) -> "Clients":
        """The looks of one phase."""
        begin, end = np.searchsorted(self.offsets, [phase.offset, phase.offset + phase.seconds])
        return Clients(self.offsets[begin:end], self.connected[begin:end], self.waiting[begin:end])


def clients_of(frame: pd.DataFrame) -> Clients | None:
    """From pooler.parquet as it is read; None where there is no pooler."""
    if frame.empty:
        return None
    ordered = frame.sort_values("offset")
    waiting = ordered["clients_waiting"].to_numpy(np.int64)
    return Clients(
        ordered["offset"].to_numpy(np.float64), ordered["clients_active"].to_numpy(np.int64) + waiting, waiting
    )


def samples_of(frame: pd.DataFrame) -> Samples:
    """From samples.parquet as it is read; none where an attempt never got that far."""
    if frame.empty:
        return Samples(np.empty(0), np.empty((0, len(STATES)), np.int64), np.empty(0, np.int64))
    order = np.argsort(frame["offset"].to_numpy(np.float64), kind="stable")
    columns = [frame[state].to_numpy(np.int64)[order] for state in STATES]
    offsets = frame["offset"].to_numpy(np.float64)[order]
    return Samples(offsets, np.column_stack(columns), frame["total"].to_numpy(np.int64)[order])
