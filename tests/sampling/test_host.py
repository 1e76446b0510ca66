"""Watching the machine and the components."""

import math
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pandas as pd
import psutil
import pytest

from runner.provision.service import Address, Usage
from runner.sampling import host
from runner.sampling.host import HostSampler, host_frame, read_kernel_counters

NETSTAT = """TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPSynRetrans
TcpExt: 0 3 5 7
IpExt: InNoRoutes InOctets
IpExt: 0 12345
"""
PRESSURE = """some avg10=1.00 avg60=2.00 avg300=3.00 total=4500000
full avg10=0.00 avg60=0.00 avg300=0.00 total=250000
"""


class FakeService:
    """Counts how often it is looked at; each look at its CPU finds a second more."""

    name, address, log_path = "fake", Address("", 0), Path("/nowhere")

    def __init__(self) -> None:
        self.looks = 0
        self.memory_looks = 0

    def alive(self) -> bool:
        return True

    def cpu_seconds(self) -> float:
        self.looks += 1
        return float(self.looks)

    def usage(self) -> Usage:
        self.memory_looks += 1
        return Usage(self.cpu_seconds(), 1000 + self.memory_looks)

    def log_tail(self, lines: int = 20) -> str:
        return ""

    def suspend(self) -> None:
        raise NotImplementedError

    def resume(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        pass


@pytest.fixture
def sampler() -> Iterator[HostSampler]:
    made = HostSampler(rate=50)
    yield made
    made.close()


def wait_until(condition: Callable[[], bool], limit: float = 5.0) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# --- the kernel's counters


def test_network_events_by_name(tmp_path: Path) -> None:
    path = tmp_path / "netstat"
    path.write_text(NETSTAT)
    counters = host._network_counters(path)
    assert counters == {"SyncookiesSent": 0, "ListenOverflows": 3, "ListenDrops": 5, "TCPSynRetrans": 7}


def test_an_overflow_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel counts it under both names."""
    monkeypatch.setattr(host, "_network_counters", lambda: {"ListenOverflows": 3, "ListenDrops": 3, "TCPSynRetrans": 2})
    counters = read_kernel_counters()
    assert (counters.listen_overflows, counters.syn_retransmits) == (3, 2)


def test_pressure_in_seconds(tmp_path: Path) -> None:
    path = tmp_path / "cpu"
    path.write_text(PRESSURE)
    assert host._pressure_seconds(path) == 4.5


def test_a_kernel_without_these_files_counts_nothing(tmp_path: Path) -> None:
    assert host._network_counters(tmp_path / "none") == {}
    assert host._pressure_seconds(tmp_path / "none") == 0.0


def test_counters_of_this_machine() -> None:
    """Time goes by on every core, as busy, idle or stolen; one that computes makes it busy."""
    before = read_kernel_counters()
    begun = time.thread_time()
    while time.thread_time() - begun < 0.3:
        pass
    after = read_kernel_counters()
    busy = after.busy_seconds - before.busy_seconds
    total = busy + after.idle_seconds - before.idle_seconds + after.steal_seconds - before.steal_seconds
    cores = psutil.cpu_count() or 1
    assert busy >= 0.25
    assert total == pytest.approx((after.at - before.at) * cores, rel=0.25)


# --- the sampler


def test_it_samples_what_is_in_focus_at_its_rate(sampler: HostSampler) -> None:
    app, database = FakeService(), FakeService()
    begun = time.monotonic()
    sampler.focus({"app": app, "database": database}, with_memory=False)
    wait_until(lambda: app.looks >= 10)
    rows = sampler.look_away()
    seconds = time.monotonic() - begun
    assert app.looks <= seconds * 50 + 2
    moments = [moment for moment, name, *_ in rows if name == "app"]
    assert moments == sorted(moments)
    assert begun <= moments[0]
    assert moments[-1] <= begun + seconds
    assert [cpu for _, name, cpu, _ in rows if name == "app"] == [float(n + 1) for n in range(len(moments))]
    assert {name for _, name, *_ in rows} == {"app", "database"}
    assert all(math.isnan(memory) for *_, memory in rows)
    assert app.memory_looks == 0


def test_memory_is_read_once_a_second(sampler: HostSampler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "MEMORY_EVERY", 0.1)
    app = FakeService()
    sampler.focus({"app": app}, with_memory=True)
    wait_until(lambda: app.memory_looks >= 3)
    rows = sampler.look_away()
    read = [(moment, memory) for moment, *_, memory in rows if not math.isnan(memory)]
    assert [memory for _, memory in read] == [1001, 1002, 1003]
    assert all(later - earlier >= 0.1 for (earlier, _), (later, _) in pairwise(read))
    assert len(rows) > len(read)


def test_nothing_is_looked_at_after_it_has_looked_away(sampler: HostSampler) -> None:
    app, other = FakeService(), FakeService()
    sampler.focus({"app": app}, with_memory=True)
    wait_until(lambda: app.looks >= 2)
    assert sampler.look_away()
    looks = app.looks
    time.sleep(0.1)
    assert app.looks == looks
    assert sampler.look_away() == []
    sampler.focus({"app": other}, with_memory=False)
    wait_until(lambda: other.looks >= 2)
    assert app.looks == looks
    assert len(sampler.look_away()) == other.looks


def test_closing_ends_it_in_focus_or_not() -> None:
    for watched in ({}, {"app": FakeService()}):
        made = HostSampler(rate=50)
        if watched:
            made.focus(watched, with_memory=False)
        made.close()
        assert not made._thread.is_alive()


def test_frame() -> None:
    rows = [(101.5, "app", 1.0, 5e6), (102.0, "database", 2.0, float("nan"))]
    frame = host_frame(rows, clock_zero=100.0)
    assert frame["offset"].tolist() == [1.5, 2.0]
    assert frame["component"].tolist() == ["app", "database"]
    assert frame["memory_bytes"].isna().tolist() == [False, True]
    empty = host_frame([], clock_zero=100.0)
    assert list(empty.columns) == list(frame.columns)
    assert empty.empty
    assert isinstance(empty["component"].dtype, pd.CategoricalDtype)
