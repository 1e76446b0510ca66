"""Following a runner that a test has started: its whole family, and whether any of it is left."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]


def connbench(arguments: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """`connbench` with these arguments, in the project's folder, its output in `log`."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "runner", *arguments], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )


class Family:
    """Every descendant that a process was seen to have."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self.seen: set[psutil.Process] = set()

    def watch_until(self, condition: Callable[[], bool], limit: float) -> None:
        """Notes descendants until the condition holds; an assertion fails after `limit` seconds."""
        deadline = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < deadline, f"not within {limit} s"
            with contextlib.suppress(psutil.NoSuchProcess):
                self.seen |= set(self._root.children(recursive=True))
            time.sleep(0.05)

    def alive(self) -> list[str]:
        """Those still there, in words. A process is known by its pid and start time."""
        left = []
        for process in self.seen:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    left.append(f"{process.pid} {process.cmdline()[:3]}")
        return left


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def left_in(folder: Path) -> list[str]:
    """Every live process that has to do with a folder, in words: by environment, arguments, or where it stands.

    A run with TMPDIR there hands it to all that it starts; a PostgreSQL backend, which overwrites its environment and
    may have lost its parents, stands in its data folder.
    """
    left, needle = [], str(folder)
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            told = [*process.cmdline(), process.cwd(), process.environ().get("TMPDIR", "")]
            if any(needle in text for text in told):
                left.append(f"{process.pid} {process.status()} {process.cmdline()[:4]}")
    return left


@contextlib.contextmanager
def own_tmpdir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A TMPDIR with a state folder of its own, in which servers without rights can reach their data."""
    with tempfile.TemporaryDirectory(prefix="cb-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        folder.chmod(0o1777)
        monkeypatch.setenv("TMPDIR", made)
        monkeypatch.setattr(tempfile, "tempdir", made)
        monkeypatch.delenv("CONNBENCH_STATE", raising=False)
        yield folder
