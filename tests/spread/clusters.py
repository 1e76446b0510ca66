"""A Dask cluster inside of the test's own process, whose workers make up what they measure."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from distributed import Client, LocalCluster, get_worker

from runner.host import describe_host
from runner.results.schema import AttemptRecord, RunEnd, Verdict
from runner.results.store import RunFolder, now_utc, write_json
from runner.spread import task
from runner.spread.order import Description, Order
from runner.spread.parcel import pack


class Workshop:
    """What the workers do; a test bends it."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        #: (block, worker) of each measurement that was begun.
        self.begun: list[tuple[int, str]] = []
        self.versions = {"python": "3.11"}
        #: Workers whose host is another's.
        self.twins: dict[str, str] = {}
        #: Workers with other versions.
        self.others: set[str] = set()
        #: Blocks that fail so many times.
        self.failing: dict[int, int] = {}
        #: The first measurement of these blocks waits for this.
        self.slow: set[int] = set()
        self.go_on = threading.Event()
        self._lock = threading.Lock()

    def describe(self, _: str) -> bytes:
        name = str(get_worker().name)
        host = describe_host().model_copy(update={"fingerprint": self.twins.get(name, f"host-{name}")})
        versions = {"python": "3.99"} if name in self.others else self.versions
        return Description(host=host, versions=versions, source="same").model_dump_json().encode()

    def measure(self, text: str) -> bytes:
        order, name = Order.model_validate_json(text), str(get_worker().name)
        with self._lock:
            first = order.block not in {block for block, _ in self.begun}
            self.begun.append((order.block, name))
            if self.failing.get(order.block, 0):
                self.failing[order.block] -= 1
                raise task.BlockFailed("no room")
        if first and order.block in self.slow:
            assert self.go_on.wait(60)
        return block_parcel(self.scratch / f"{order.block}-{name}-{time.monotonic_ns()}", order, f"host-{name}")


#: The workers are threads of this process, and Dask sends functions by name.
_OPEN: dict[str, Workshop] = {}


def describe(text: str) -> bytes:
    return _OPEN["workshop"].describe(text)


def measure(text: str) -> bytes:
    return _OPEN["workshop"].measure(text)


def block_parcel(path: Path, order: Order, host: str) -> bytes:
    """What a host that measured the block would send."""
    path.mkdir(parents=True)
    folder = RunFolder(path)
    for group in order.plan().groups:
        for planned in group.attempts:
            partial = folder.begin_attempt(planned.cell, planned.block, planned.attempt)
            pd.DataFrame({"offset": [1.0]}).to_parquet(partial / "requests.parquet")
            record = AttemptRecord(
                cell=planned.cell,
                block=planned.block,
                attempt=planned.attempt,
                group=group.name,
                verdict=Verdict(status="failed", reason="made up"),
                started_at=now_utc(),
                measured_on=host,
                clock_zero=0.0,
            )
            folder.write_attempt(partial, record)
            folder.commit_attempt(partial)
            folder.event("failed", cell=planned.cell, block=planned.block)
    (path / "logs").mkdir()
    (path / "logs" / "pg.log").write_text("up\n")
    end = RunEnd(status="finished", finished_at=now_utc(), wall_seconds=1.0, databases=[], time_spent={"count": 2.0})
    write_json(path / "end.json", end)
    return pack(path)


@contextlib.contextmanager
def cluster(workshop: Workshop, workers: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A scheduler with so many workers, named 0, 1 …"""
    monkeypatch.setitem(_OPEN, "workshop", workshop)
    monkeypatch.setattr(task, "describe", describe)
    monkeypatch.setattr(task, "measure", measure)
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=False,
            # Without a dashboard it listens all the same, and at 8787 another's may be.
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            resources={task.RESOURCE: 1},
        ) as local,
        Client(local, set_as_default=False) as client,
    ):
        try:
            yield client
        finally:
            workshop.go_on.set()
