"""Ending what a runner that was killed has left: exactly what its journal proves to be its own.

A process is a dead runner's own if the journal names its pid with its start time, if it was started with the
runner's mark in its environment, if it runs a program of the run's from inside the run's private folder (a PostgreSQL
backend overwrites its environment and is in a session of its own), or if it descends from such a one.
"""

import contextlib
import importlib
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runner import waiting
from runner.errors import ConnbenchError
from runner.provision import processes, shared_memory
from runner.provision.journal import MARK, Recorded, held, journals, mark, read_journal
from runner.provision.processes import Process


@dataclass(frozen=True)
class Cleaned:
    """What a dead runner had left, and what was done about it."""

    pid: int
    since: str
    ended: int
    folders: int
    #: Containers, networks and volumes.
    containers: int
    results: Path | None
    #: What could not be cleaned, in words.
    left: tuple[str, ...]
    #: What was made on servers that were there already, and what became of it.
    elsewhere: tuple[str, ...] = ()

    @property
    def anything(self) -> bool:
        """Whether there was something to clean, or is something left."""
        return bool(self.ended or self.folders or self.containers or self.left or self.elsewhere)

    def __str__(self) -> str:
        text = f"cleaned up after a run that was killed (pid {self.pid}, since {self.since}): {self.ended} processes"
        text += f" ended, {self.folders} folders removed"
        if self.containers:
            text += f", {self.containers} containers, networks and volumes removed"
        text += "".join(f"; {words}" for words in self.elsewhere)
        if self.left:
            text += f"; left: {', '.join(self.left)}"
        if self.results is not None and not (self.results / "end.json").exists():
            text += f". To finish it: connbench resume {self.results}"
        return text


#: Cleans up on the server whose URL an environment variable has, and says what it did.
Elsewhere = Callable[[str], str]


def sweep(say: Callable[[str], object], elsewhere: Elsewhere) -> list[Cleaned]:
    """Cleans up after every runner that is dead; `say` is told of each that had left something."""
    found = []
    for path in journals():
        cleaned = _sweep_one(path, elsewhere)
        if cleaned is not None and cleaned.anything:
            found.append(cleaned)
            say(str(cleaned))
    return found


def _sweep_one(path: Path, elsewhere: Elsewhere) -> Cleaned | None:
    recorded = read_journal(path)
    if runner_lives(recorded):
        return None
    # The guard of a runner that died a moment ago may be at it.
    deadline = time.monotonic() + waiting.LEFTOVERS
    while True:
        with held(path) as mine:
            if mine:
                return clean(recorded, elsewhere)
        if not path.exists() or time.monotonic() >= deadline:
            return None
        time.sleep(0.05)


def runner_lives(recorded: Recorded) -> bool:
    """Whether the runner still runs; also where that cannot be known from here, in a container beside its own."""
    runner = recorded.runner
    if not runner:
        return False
    if runner["space"] != processes.pid_space():
        return _same_boot(runner["space"])
    now = processes.look(runner["pid"])
    return now is not None and now.started == runner["started"]


def _same_boot(space: str) -> bool:
    return space.partition("/")[0] == processes.pid_space().partition("/")[0]


def clean(recorded: Recorded, elsewhere: Elsewhere | None = None) -> Cleaned:
    """Ends the processes, removes the folders, then the journal. The caller holds the journal's lock.

    What is on other servers is left to a command that can say so: without `elsewhere` it stays in the journal.
    """
    mine = owned(recorded)
    ended = len(mine)
    _ask_to_leave(recorded, mine)
    deadline = time.monotonic() + waiting.LEFTOVERS
    # What is being started while we look is seen the next time.
    while mine and time.monotonic() < deadline:
        processes.kill(mine, limit=1.0)
        mine = owned(recorded)
    containers, unreachable = _clear_engines(recorded)
    left = (
        [f"process {process.pid}" for process in mine]
        + unreachable
        + [f"a {line.get('kind')}" for line in recorded.unknown]
    )
    folders = [folder for folder in recorded.folders if folder.is_dir() and not folder.is_symlink()]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    left += [str(folder) for folder in folders if folder.exists()]
    if not mine and _is_of_this_boot(recorded):
        left += [f"shared memory {segment.name}" for segment in shared_memory.remove(recorded.shared)]
    done = () if elsewhere is None else tuple(elsewhere(variable) for variable in sorted(recorded.hosted))
    if not left and len(done) == len(recorded.hosted):
        recorded.path.unlink(missing_ok=True)
    runner = recorded.runner
    return Cleaned(
        runner.get("pid", 0),
        runner.get("since", "?"),
        ended,
        len(folders),
        containers,
        recorded.results,
        tuple(sorted(left)),
        done,
    )


def _clear_engines(recorded: Recorded) -> tuple[int, list[str]]:
    """Removes the run's containers, networks and volumes; how many, and what could not be asked, in words."""
    removed, unreachable = 0, []
    for run, host in recorded.engines.items():
        # The guard is small and starts at once: Docker's client is loaded where there is something to remove.
        engine = importlib.import_module("runner.provision.engine")
        try:
            removed += engine.clear(host, run)
        except ConnbenchError as error:
            unreachable.append(f"what the engine at {host} has of {run} ({error})")
    return removed, unreachable


def owned(recorded: Recorded) -> set[Process]:
    """Every live process that is provably this runner's; nobody's where pids mean something else by now.

    A runner that lives may have other providers: only the journal's own are taken then, not all that bear its mark.
    """
    runner = recorded.runner
    if not _is_of_this_boot(recorded):
        return set()
    everyone = processes.snapshot()
    roots = {pid for pid, line in recorded.processes.items() if _is(everyone, pid, line["started"])}
    bearing = "" if runner_lives(recorded) else f"{MARK}={mark(runner['pid'], runner['started'], runner['space'])}"
    for pid, process in everyone.items():
        if process.started >= runner["started"] and (
            (bearing and processes.environment_has(pid, bearing)) or _stands_inside(pid, recorded)
        ):
            roots.add(pid)
    me = processes.myself()
    return {process for process in processes.descendants(everyone, roots) if process.pid != me.pid}


def _is_of_this_boot(recorded: Recorded) -> bool:
    """Whether its pids, and what else the kernel numbers, mean the same here and now."""
    return bool(recorded.runner) and recorded.runner["space"] == processes.pid_space()


def _is(everyone: dict[int, Process], pid: int, started: int) -> bool:
    return pid in everyone and everyone[pid].started == started


def _stands_inside(pid: int, recorded: Recorded) -> bool:
    where = processes.working_folder(pid)
    inside = bool(where) and any(Path(where).is_relative_to(folder) for folder in recorded.folders)
    return inside and processes.program(pid) in recorded.programs


def _ask_to_leave(recorded: Recorded, mine: set[Process]) -> None:
    """Each service's own signal first: a database that leaves in order frees what it shares with nobody else."""
    asked = [process for process in mine if process.pid in recorded.processes and not process.stopped]
    for process in asked:
        with contextlib.suppress(ValueError):
            processes.send(process, signal.Signals(recorded.processes[process.pid]["stop_signal"]))
    deadline = time.monotonic() + waiting.STOP_GRACE
    while asked and time.monotonic() < deadline:
        time.sleep(0.05)
        asked = list(processes.living(asked))
