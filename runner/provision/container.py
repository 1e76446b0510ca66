"""A service that is a container: the same handle as a process group's in `runner.provision.native`."""

import contextlib
import signal
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from runner import waiting
from runner.errors import StackError
from runner.provision import cgroups
from runner.provision.engine import ENGINE_ERRORS, engine_words
from runner.provision.logs import log_tail
from runner.provision.pod import Eyes
from runner.provision.service import Address, Command, Usage

# The engine makes whoever asks sooner wait.
STATISTICS_EVERY = 1.0
#: Bytes that a log needs, or it may miss what matters.
LOG_ROOM = 65536


class DockerService:
    """A container. See `runner.provision.service.Service`."""

    def __init__(
        self, name: str, command: Command, address: Address, log_path: Path, log_inside: Path, eyes: Eyes
    ) -> None:
        self.name = name
        self.address = address
        self.log_path = log_path
        self.command = command
        self.log_inside = log_inside
        self._eyes = eyes
        self._log_end = 0
        self._log_lock = threading.Lock()
        self._spent = Usage(0.0, 0)
        self._ended = threading.Event()
        self._ending = ""
        self._exit_code: int | None = None
        self._paused = False

    def take(self, container: Any) -> None:
        """The container that runs it from now on."""
        self.container = container
        self._before = self._spent.cpu_seconds
        self._ended = threading.Event()
        self._exit_code, self._ending = None, ""
        self._fresh_until = 0.0
        container.reload()
        self._cgroup = cgroups.find(container.attrs["State"]["Pid"], container.id)
        threading.Thread(
            target=self._await, args=(container, self._ended), name=f"end of {self.name}", daemon=True
        ).start()

    def _await(self, container: Any, ended: threading.Event) -> None:
        try:
            code = int(container.client.api.wait(container.id, timeout=None)["StatusCode"])
            self._exit_code = 128 - code if code > 128 else code
            self._ending = _in_words(container, self._exit_code)
        except ENGINE_ERRORS as error:
            self._exit_code, self._ending = -int(signal.SIGKILL), f"was lost with the Docker engine ({error})"
        ended.set()

    def alive(self) -> bool:
        return not self._ended.is_set()

    @property
    def exit_code(self) -> int | None:
        return self._exit_code if self._ended.is_set() else None

    def ending(self) -> str:
        return self._ending if self._ended.is_set() else "is still there"

    def wait(self, limit: float) -> bool:
        return self._ended.wait(limit)

    def cpu_seconds(self) -> float:
        return self.usage().cpu_seconds

    def usage(self) -> Usage:
        """By the kernel's accounts where they are this machine's, else by the engine's statistics."""
        if self.alive() and (usage := self._now()):
            self._spent = Usage(self._before + usage.cpu_seconds, usage.memory_bytes)
        return self._spent

    def _now(self) -> Usage | None:
        with contextlib.suppress(OSError):
            if self._cgroup is not None:
                return self._cgroup.usage()
        if time.monotonic() < self._fresh_until:
            return None
        with contextlib.suppress(*ENGINE_ERRORS):
            found = usage_of(self.container.client.api.stats(self.container.id, stream=False, one_shot=True))
            self._fresh_until = time.monotonic() + STATISTICS_EVERY
            return found
        return None

    def bring_log(self) -> None:
        with self._log_lock:
            self._log_end = self._eyes.copy(self.log_inside, self.log_path, self._log_end)

    def log_tail(self, lines: int = 20) -> str:
        with contextlib.suppress(StackError):
            self.bring_log()
        tail, unsaid = log_tail(self.log_path, lines), self._unsaid()
        return f"{tail}\n({self.name} {unsaid})" if unsaid else tail

    def _unsaid(self) -> str:
        """What its log does not tell: how it ended, what one of its processes came to, or that there is no room."""
        if not self.alive():
            return self._ending
        if self.starved():
            return f"lives; a process of it {_for_want_of_memory(self.container)}"
        with contextlib.suppress(StackError):
            if self._eyes.room(self.log_inside.parent) < LOG_ROOM:
                return "lives; the run's volume has no space left, for its log neither"
        return ""

    def starved(self) -> bool:
        with contextlib.suppress(OSError):
            if self._cgroup is not None:
                return self._cgroup.memory_kills() > 0
        with contextlib.suppress(*ENGINE_ERRORS):
            client, of_it = self.container.client, {"container": self.container.id, "event": "oom"}
            # By the engine's clock, which it is asked by in whole seconds.
            created, now = map(_seconds, (self.container.attrs["Created"], client.info()["SystemTime"]))
            return any(client.events(since=created, until=now, filters=of_it, decode=True))
        return False

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(*ENGINE_ERRORS):
            self.container.kill(signal=int(number))

    def suspend(self) -> None:
        with engine_words(f"{self.name} could not be paused"):
            self.container.pause()
        self._paused = True

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            with contextlib.suppress(*ENGINE_ERRORS):
                self.container.unpause()

    def stop(self) -> None:
        self.resume()
        self.usage()
        for number, limit in (
            (self.command.stop_signal, waiting.STOP_INT),
            (signal.SIGTERM, waiting.STOP_TERM),
            (signal.SIGKILL, waiting.STOP_TERM),
        ):
            if self.alive():
                self.signal(number)
                self.wait(limit)
        with contextlib.suppress(StackError):
            self.bring_log()
        with contextlib.suppress(*ENGINE_ERRORS):
            self.container.remove(force=True, v=True)
        self.wait(waiting.STOP_TERM)


def usage_of(statistics: dict[str, Any]) -> Usage | None:
    """What a container has used by the engine's statistics; None of one that does not run.

    The cache that could be given back is `total_inactive_file` under cgroup v1 and `inactive_file` under v2, as
    `docker stats` has it.
    """
    cpu, memory = statistics.get("cpu_stats", {}), statistics.get("memory_stats", {})
    if not cpu.get("cpu_usage", {}).get("total_usage"):
        return None
    details = memory.get("stats", {})
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    return Usage(cpu["cpu_usage"]["total_usage"] / 1e9, max(0, memory.get("usage", 0) - cache))


def _in_words(container: Any, code: int) -> str:
    state: dict[str, Any] = {}
    with contextlib.suppress(*ENGINE_ERRORS):
        container.reload()
        state = container.attrs["State"]
    if state.get("OOMKilled"):
        return _for_want_of_memory(container)
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"left with exit code {code}"


def _for_want_of_memory(container: Any) -> str:
    limit = container.attrs["HostConfig"]["Memory"]
    return "was killed for want of memory" + (f" (the limit is {limit / 1e6:.0f} MB)" if limit else "")


def _seconds(moment: str) -> int:
    """Since 1970; as the engine writes a moment, with nanoseconds."""
    return int(datetime.fromisoformat(moment).timestamp())
