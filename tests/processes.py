"""Following a runner that a test has started: its whole family, and whether any of it is left."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

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
