"""One measuring run at a time on a machine: two at once would measure each other."""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from runner.errors import EnvironmentUnfit
from runner.provision.state import state_folder


class HostBusy(EnvironmentUnfit):
    """Another run measures on this machine now."""


@contextmanager
def own_turn(*, wait: bool = False, say: Callable[[str], object] = lambda _: None) -> Iterator[None]:
    """Holds this machine's lock, which the kernel frees if we are killed.

    Where another run has it: HostBusy, which says who; with `wait` that is told to `say`, and the turn waited for,
    however long the other run takes.
    """
    path = state_folder() / "measuring.lock"
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        if not _taken(descriptor):
            holder = _holder(path)
            if not wait:
                raise HostBusy(f"{holder}; two at once would spoil each other: try later, or wait for it with --wait")
            say(f"{holder}; waiting for its end")
            while not _taken(descriptor):
                time.sleep(0.2)
        _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(descriptor: int) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "folder": str(Path.cwd()), "since": since}).encode(), 0)


def _holder(path: Path) -> str:
    try:
        told = json.loads(path.read_text("utf-8"))
        return f"another run measures on this machine (pid {told['pid']}, in {told['folder']}, since {told['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        # It has the lock and has not signed yet.
        return "another run measures on this machine"
