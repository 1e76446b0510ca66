"""Watching a pooler beside its database: its own figures at a steady rate, while load runs or connections linger.

A thread of the runner: two short answers a look. The looks are for states over time and for who waits; clients and
server connections are counted from the pooler's and the database's books.
"""

import threading
import time
from dataclasses import astuple, fields

import pandas as pd

from runner.errors import StackError
from runner.stacks.poolers.base import Pooler, PoolerReading

COLUMNS = tuple(field.name for field in fields(PoolerReading))


class PoolerSampler:
    """Looks `per_second` times a second between `focus` and `look_away`."""

    def __init__(self, pooler: Pooler, per_second: float) -> None:
        self._pooler = pooler
        self._period = 1 / per_second
        self._rows: list[tuple[float, PoolerReading]] = []
        self._watching = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="pooler-sampler", daemon=True)
        self._thread.start()

    def focus(self) -> None:
        self._watching.set()

    def look_away(self) -> None:
        self._watching.clear()

    def close(self) -> None:
        """Ends the thread. Safe to call twice."""
        self._closed = True
        self._watching.set()
        self._thread.join()

    def rows(self) -> list[tuple[float, PoolerReading]]:
        """Monotonic moments and what was seen then."""
        return list(self._rows)

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            self._watching.wait()
            if self._closed:
                return
            now = time.monotonic()
            try:
                self._rows.append((now, self._pooler.look()))
            except StackError:
                # It has gone: the attempt finds out by itself, and there is no more to see.
                return
            due = max(due + self._period, now)
            time.sleep(max(0.0, due - time.monotonic()))


def pooler_frame(rows: list[tuple[float, PoolerReading]], clock_zero: float) -> pd.DataFrame:
    """Columns: `offset` (s) and the fields of `PoolerReading`."""
    found = [(moment - clock_zero, *astuple(reading)) for moment, reading in rows]
    frame = pd.DataFrame(found, columns=["offset", *COLUMNS])
    seconds = ("offset", "longest_wait", "waited_seconds")
    return frame.astype({name: "float64" if name in seconds else "int64" for name in frame.columns})
