"""A service that is a process group: how it is watched, stopped for a while, and ended with all its family."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil

from runner import waiting
from runner.errors import StackError
from runner.provision import processes, shared_memory
from runner.provision.logs import log_tail
from runner.provision.service import Address, Usage


class NativeService:
    """A process group. See `runner.provision.service.Service`."""

    def __init__(
        self,
        name: str,
        process: "subprocess.Popen[bytes]",
        address: Address,
        log_path: Path,
        stop_signal: signal.Signals = signal.SIGINT,
        start: Callable[[], "subprocess.Popen[bytes]"] | None = None,
    ) -> None:
        self.name = name
        self.address = address
        self.log_path = log_path
        self.stop_signal = stop_signal
        self._start = start
        self._cpu_before = 0.0
        self._suspended: list[psutil.Process] = []
        #: What it has in the machine's shared memory, as far as it was noted.
        self.shared: list[shared_memory.Segment] = []
        self._take(process)

    def _take(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._root = psutil.Process(process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Of its first process; None while that runs, negative if a signal ended it."""
        return self._process.poll()

    def ending(self) -> str:
        """How its first process ended, in words."""
        code = self.exit_code
        if code is None:
            return "is still there"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"left with exit code {code}"

    def starved(self) -> bool:
        """No process group's memory is bounded."""
        return False

    def processes(self) -> list[psutil.Process]:
        """The service's live processes, the first one first."""
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu_seconds(self) -> float:
        total = self._cpu_before
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def usage(self) -> Usage:
        memory = 0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                memory += process.memory_full_info().pss
        return Usage(self.cpu_seconds(), memory)

    def bring_log(self) -> None:
        """The process writes to `log_path` itself."""

    def log_tail(self, lines: int = 20) -> str:
        return log_tail(self.log_path, lines)

    def wait(self, limit: float) -> bool:
        """Waits until its first process has ended by itself; whether it has."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(limit)
        return not self.alive()

    def signal(self, number: signal.Signals) -> None:
        """To its first process, which is the one that the others look to."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def suspend(self) -> None:
        """Stands still, all its processes, until `resume`: nothing is closed and nothing answers.

        The first process goes first, so that none is born meanwhile. A server's children may each be a session of
        their own (PostgreSQL's are), which no signal to the group would reach.
        """
        self._suspend(self._root)
        for process in self.processes()[1:]:
            self._suspend(process)

    def _suspend(self, process: psutil.Process) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
            self._suspended.append(process)

    def resume(self) -> None:
        """Goes on where `suspend` had it stand still; the first process last. Safe to call at any time."""
        while self._suspended:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._suspended.pop().resume()

    def start_again(self) -> None:
        """The same command at the same address, once it has been stopped."""
        if self._start is None:
            raise StackError(f"{self.name} cannot be started again")
        self._take(self._start())

    def stop(self) -> None:
        """INT (or the command's own), then TERM, then KILL to the whole family, each given its time.

        What `suspend` has stopped goes on first, to end in good order; what somebody else has hears nothing but KILL.
        """
        self.resume()
        self._cpu_before = self.cpu_seconds()
        # PostgreSQL's backends are in sessions of their own, and after its death nobody's children.
        family = processes.descendants(processes.snapshot(), [self.pid])
        for number, limit in ((self.stop_signal, waiting.STOP_INT), (signal.SIGTERM, waiting.STOP_TERM)):
            now = processes.look(self.pid)
            if not self.alive() or now is None or now.stopped:
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
            self.wait(limit)
        family |= processes.descendants(processes.snapshot(), [self.pid])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        # One that is stuck in the kernel does not hear that either.
        self.wait(waiting.STOP_TERM)
        processes.kill(family, waiting.STOP_TERM)
        # One that was killed had no time for it.
        self.shared = shared_memory.remove(self.shared)
