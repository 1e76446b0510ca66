"""Watching the machine: what each component uses, and whether something disturbed the measurement.

A thread of the runner, which waits while load runs. CPU is cheap to read and is read at the full rate; memory
makes the kernel walk page tables, so it is read once a second and only during the count.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil

from runner.errors import StackError
from runner.provision.service import Watched

MEMORY_EVERY = 1.0

#: Monotonic time, component, CPU seconds since it started, bytes (NaN where not read).
HostRow = tuple[float, str, float, float]


@dataclass(frozen=True)
class KernelCounters:
    """Machine-wide counters since boot. Seconds of CPU over all cores; events as counts."""

    at: float
    busy_seconds: float
    idle_seconds: float
    steal_seconds: float
    #: Seconds in which some task waited for a CPU (pressure stall information), 0 where the kernel has none.
    cpu_pressure_seconds: float
    listen_overflows: int
    syn_retransmits: int


def read_kernel_counters() -> KernelCounters:
    times = psutil.cpu_times()
    busy = times.user + times.nice + times.system + times.irq + times.softirq
    network = _network_counters()
    return KernelCounters(
        at=time.monotonic(),
        busy_seconds=busy,
        idle_seconds=times.idle + times.iowait,
        steal_seconds=times.steal,
        cpu_pressure_seconds=_pressure_seconds(),
        # The kernel counts each overflow among the drops as well.
        listen_overflows=network.get("ListenDrops", 0),
        syn_retransmits=network.get("TCPSynRetrans", 0),
    )


def _pressure_seconds(path: Path = Path("/proc/pressure/cpu")) -> float:
    try:
        first = path.read_text().splitlines()[0]
    except (OSError, IndexError):
        return 0.0
    return int(first.rpartition("total=")[2]) / 1e6


def _network_counters(path: Path = Path("/proc/net/netstat")) -> dict[str, int]:
    """The TcpExt line pair of the kernel's extended statistics."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pair = [line.split()[1:] for line in lines if line.startswith("TcpExt:")]
    return dict(zip(pair[0], map(int, pair[1]), strict=True)) if len(pair) == 2 else {}


class HostSampler:
    """Samples the components of the attempt in focus until told to look away."""

    def __init__(self, rate: float) -> None:
        self._period = 1 / rate
        self._components: Mapping[str, Watched] = {}
        self._with_memory = False
        self._rows: list[HostRow] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="host-sampler", daemon=True)
        self._thread.start()

    def focus(self, components: Mapping[str, Watched], *, with_memory: bool) -> None:
        """Samples these from now on."""
        with self._lock:
            self._components, self._with_memory = components, with_memory
        self._wake.set()

    def look_away(self) -> list[HostRow]:
        """Stops sampling; returns the rows since the last call. StackError if it could not go on."""
        with self._lock:
            self._components = {}
            self._wake.clear()
            rows, self._rows = self._rows, []
        if self._fault is not None:
            raise StackError(f"the host could not be watched: {self._fault}") from self._fault
        return rows

    def close(self) -> None:
        self._closed = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        due = memory_due = time.monotonic()
        while True:
            self._wake.wait()
            if self._closed:
                return
            now = time.monotonic()
            with_memory = self._with_memory and now >= memory_due
            if with_memory:
                memory_due = now + MEMORY_EVERY
            try:
                with self._lock:
                    self._look(now, with_memory)
            except (OSError, psutil.Error) as error:
                self._fault = error
                return
            due = max(due + self._period, now)
            time.sleep(max(0.0, due - time.monotonic()))

    def _look(self, now: float, with_memory: bool) -> None:
        for name, service in self._components.items():
            if with_memory:
                usage = service.usage()
                self._rows.append((now, name, usage.cpu_seconds, float(usage.memory_bytes)))
            else:
                self._rows.append((now, name, service.cpu_seconds(), float("nan")))


def host_frame(rows: list[HostRow], clock_zero: float) -> pd.DataFrame:
    """Columns: `offset` (s), `component`, `cpu_seconds` (since it started), `memory_bytes` (NaN where not read)."""
    frame = pd.DataFrame(rows, columns=["offset", "component", "cpu_seconds", "memory_bytes"])
    frame["offset"] -= clock_zero
    return frame.astype({"component": "category"})
