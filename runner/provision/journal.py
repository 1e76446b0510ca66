"""What one provider has started, written down before anything can go wrong with it, for whoever comes after a crash.

One JSON object a line, appended: {"kind": "process", …}. The file is locked for as long as its provider lives; the
kernel frees the lock of one that is killed. Standard library only, as the guard reads it too.
"""

import contextlib
import fcntl
import itertools
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner.provision.processes import myself, pid_space
from runner.provision.shared_memory import Segment
from runner.provision.state import state_folder, state_path

#: In the environment of everything that a runner starts: who started it. Children inherit it.
MARK = "CONNBENCH_RUNNER"
_numbers = itertools.count(1)


def mark(pid: int, started: int, space: str) -> str:
    """The value of `MARK`: no other process of this machine ever has the same, dead or alive."""
    return f"{pid}.{started}.{space[:13]}"


def own_mark() -> str:
    """What this process writes on everything that it starts."""
    me = myself()
    return mark(me.pid, me.started, pid_space())


class Journal:
    """A provider's own record. A line is in the kernel's hands when the call returns."""

    def __init__(self) -> None:
        me = myself()
        folder = state_folder() / "journals"
        folder.mkdir(mode=0o700, exist_ok=True)
        self.path = folder / f"{me.pid}-{me.started}-{next(_numbers)}.jsonl"
        self._descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self.note(
            "runner",
            pid=me.pid,
            started=me.started,
            space=pid_space(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            folder=str(Path.cwd()),
            command=sys.argv,
        )

    def note(self, kind: str, **fields: object) -> None:
        """Appends one line. Kinds: runner, folder, process, ended, shared, results, hosted, hosted-left, engine,
        engine-cleared."""
        os.write(self._descriptor, json.dumps({"kind": kind, **fields}).encode() + b"\n")

    def release(self) -> None:
        """Lets go of the lock: the guard, or the next command, may clean up what is still written down."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = -1


@dataclass
class Recorded:
    """A journal, read."""

    path: Path
    runner: dict[str, Any] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)
    #: Processes that were not noted as ended, by pid.
    processes: dict[int, dict[str, Any]] = field(default_factory=dict)
    #: Every program that was ever started.
    programs: set[str] = field(default_factory=set)
    #: What services had in the machine's shared memory.
    shared: list[Segment] = field(default_factory=list)
    results: Path | None = None
    #: Servers that are not the run's own, where it has made databases: the environment variables with their URLs.
    hosted: set[str] = field(default_factory=set)
    #: Docker engines that were asked for containers and not cleared yet: the run's label to the engine's address.
    engines: dict[str, str] = field(default_factory=dict)
    #: Kinds that this version does not know, and so cannot clean.
    unknown: list[dict[str, Any]] = field(default_factory=list)

    def take(self, line: dict[str, Any]) -> None:
        kind = line.get("kind")
        if kind == "runner":
            self.runner = line
        elif kind == "folder":
            self.folders.append(Path(line["path"]))
        elif kind == "process":
            self.processes[line["pid"]] = line
            self.programs.add(line["program"])
        elif kind == "ended":
            self.processes.pop(line["pid"], None)
        elif kind == "shared":
            self.shared.append(Segment(line["name"], line["identity"]))
        elif kind == "results":
            self.results = Path(line["path"])
        elif not self._take_elsewhere(line):
            self.unknown.append(line)

    def _take_elsewhere(self, line: dict[str, Any]) -> bool:
        """What is on other servers and engines; whether the line is of that."""
        kind = line.get("kind")
        if kind == "hosted":
            self.hosted.add(line["variable"])
        elif kind == "hosted-left":
            self.hosted.discard(line["variable"])
        elif kind == "engine":
            self.engines[line["run"]] = line["host"]
        elif kind == "engine-cleared":
            self.engines.pop(line["run"], None)
        else:
            return False
        return True


def read_journal(path: Path) -> Recorded:
    """The journal at `path`; a last line that was cut off is not counted, as what it tells never came to be known."""
    recorded = Recorded(path)
    with contextlib.suppress(OSError):
        for line in path.read_text("utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                recorded.take(json.loads(line))
    return recorded


def journals() -> list[Path]:
    """Every journal that there is, of the living and the dead."""
    return sorted((state_path() / "journals").glob("*.jsonl"))


@contextlib.contextmanager
def held(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Holds the journal's lock; False where its provider, or somebody who cleans up after it, has it or it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        yield False
    else:
        # Whoever had it may have cleaned up and removed it meanwhile.
        yield path.exists()
    finally:
        os.close(descriptor)
