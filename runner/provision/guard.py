"""A process that outlives the runner by a moment: it ends the process groups that a dead runner left.

The runner writes `+<pid>` for a group that it started and `-<pid>` for one that it has stopped; the end of
the stream says that the runner is gone, in order or not. Run as a script with nothing but the standard
library, so that it is small and starts at once.
"""

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable

GRACE_SECONDS = 3.0


def watch(lines: Iterable[str]) -> set[int]:
    """Reads the stream to its end; returns the groups still running then."""
    groups: set[int] = set()
    for line in lines:
        sign, pid = line[0], int(line[1:])
        if sign == "+":
            groups.add(pid)
        else:
            groups.discard(pid)
    return groups


def end(groups: set[int]) -> None:
    """TERM, a grace period, KILL."""
    left = _signal(groups, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = _signal(left, 0)
    _signal(left, signal.SIGKILL)


def _signal(groups: set[int], number: int) -> set[int]:
    """Signals each group; returns those that still exist."""
    left: set[int] = set()
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)
            left.add(group)
    return left


if __name__ == "__main__":
    # Ctrl-C and a closed terminal concern the runner; the guard goes when the runner has gone.
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    abandoned = watch(sys.stdin)
    if abandoned:
        end(abandoned)
    shutil.rmtree(sys.argv[1], ignore_errors=True)
