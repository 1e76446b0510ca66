"""Processes as the kernel shows them, each known by its pid and start time: a pid alone may be somebody else's by now.

Standard library only: the guard imports this, and it is to be small and start at once.
"""

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PROC = Path("/proc")
ZOMBIE, STOPPED = "Z", "T"


@dataclass(frozen=True)
class Process:
    """One live process. `started` is in clock ticks since boot, which is what tells two users of one pid apart."""

    pid: int
    started: int
    parent: int = field(compare=False)
    state: str = field(compare=False)

    @property
    def stopped(self) -> bool:
        """Suspended by a signal: deaf to every other one but KILL and CONT."""
        return self.state == STOPPED


def look(pid: int) -> Process | None:
    """The process with this pid; None where there is none, or one that has ended and was not collected yet."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # proc(5): the command's name is in parentheses and may hold anything, more parentheses among it.
    fields = text.rpartition(")")[2].split()
    state, parent, started = fields[0], int(fields[1]), int(fields[19])
    return None if state == ZOMBIE else Process(pid, started, parent, state)


def snapshot() -> dict[int, Process]:
    """Every live process of this machine that we may see, by pid."""
    found = (look(int(entry)) for entry in os.listdir(PROC) if entry.isdigit())  # noqa: PTH208  names alone, and fast
    return {process.pid: process for process in found if process is not None}


def descendants(everyone: Mapping[int, Process], roots: Iterable[int]) -> set[Process]:
    """The roots that live, their children, those of these, and so on; whatever session they are in."""
    children: dict[int, list[Process]] = {}
    for process in everyone.values():
        children.setdefault(process.parent, []).append(process)
    family: set[Process] = set()
    pending = [everyone[pid] for pid in roots if pid in everyone]
    while pending:
        process = pending.pop()
        if process not in family:
            family.add(process)
            pending += children.get(process.pid, [])
    return family


def send(process: Process, number: signal.Signals) -> None:
    """Signals the process, if it is still the same one."""
    now = look(process.pid)
    if now is not None and now.started == process.started:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)


def living(processes: Collection[Process]) -> set[Process]:
    """Those that are still there."""
    return {one for one in processes if (now := look(one.pid)) is not None and now.started == one.started}


def kill(processes: Collection[Process], limit: float) -> set[Process]:
    """KILL to each; returns those that are still there after `limit` seconds: stuck in the kernel."""
    for process in processes:
        send(process, signal.SIGKILL)
    deadline = time.monotonic() + limit
    left = living(processes)
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = living(left)
    return left


def environment_has(pid: int, entry: str) -> bool:
    """Whether the process was started with this `NAME=value`; False where we may not look."""
    try:
        return entry.encode() in (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def program(pid: int) -> str:
    """The file that it runs; empty where we may not look."""
    return _link(pid, "exe")


def working_folder(pid: int) -> str:
    """Where it stands; empty where we may not look."""
    return _link(pid, "cwd")


def _link(pid: int, name: str) -> str:
    try:
        return str((PROC / str(pid) / name).readlink()).removesuffix(" (deleted)")
    except OSError:
        return ""


@cache
def pid_space() -> str:
    """What a pid is a number in: this boot of this machine, and this container's own numbers."""
    boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{_link(os.getpid(), 'ns/pid')}"


def myself() -> Process:
    """This process."""
    found = look(os.getpid())
    assert found is not None, "this process lives"
    return found
