"""What Dask has its workers do. Sent by name: each host runs the code of its own checkout."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from distributed import get_worker
from distributed.core import Status

# How soon a task that nobody waits for any more ends its process …
LOOK_EVERY = 0.2
# … and what that may take to bring everything down.
LEAVE = 60.0
#: A worker offers one of these, so that it is given one block at a time: `dask worker … --resources connbench=1`.
RESOURCE = "connbench"


class BlockFailed(Exception):
    """A host could not do what it was asked: its own words."""


def describe(order: str) -> bytes:
    """A `Description` as JSON."""
    return _ask("describe", order)


def measure(order: str) -> bytes:
    """A block's parcel."""
    return _ask("measure", order)


def _ask(what: str, order: str) -> bytes:
    root = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "runner.spread.measuring", what],
            stdin=subprocess.PIPE,
            stdout=answer,
            stderr=words,
            cwd=root,
            start_new_session=True,
        )
        assert process.stdin is not None, "it was asked for"
        with process.stdin as line:
            line.write(order.encode() + b"\n")
            line.flush()
            while process.poll() is None and _is_wanted():
                time.sleep(LOOK_EVERY)
        try:
            code = process.wait(LEAVE)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        words.seek(0)
        if code != 0:
            told = words.read().decode(errors="replace").strip().splitlines()
            raise BlockFailed("\n".join(told[-20:]) or f"its process ended with exit code {code}")
        answer.seek(0)
        return answer.read()


def _is_wanted() -> bool:
    """Whether anybody still waits for this task: not if it was cancelled, or the scheduler is gone."""
    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    return worker.status is Status.running and task is not None and task.state in ("executing", "long-running")
