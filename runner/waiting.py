"""One poll loop on a monotonic clock, and every time limit of the runner in one place."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Seconds. Generous for a loaded two-core machine; a limit that is reached means that something is wrong.
DATABASE_START = 120.0
# The longest that the harness asks of a database is a copy of the template.
DATABASE_REPLY = 60.0
# To let a session of the harness's own in; while a server starts, a stranger on its port may never answer.
# libpq takes whole seconds, two at least.
DATABASE_CONNECT = 5
DATABASE_CONNECT_TRY = 2
RELAY_START = 30.0
AGENT_START = 30.0
AGENT_REPLY = 30.0
# A container to be made and started, beside what its command may take.
CONTAINER_COMMAND = 30.0
APP_START = 90.0
TEMPLATE_COMMAND = 600.0
LOAD_START = 30.0
LOAD_REPLY = 30.0
# Requests in flight at the end of a stretch; less than LOAD_REPLY, and longer than any answer.
LOAD_STOP = 20.0
LOAD_LEAVE = 2.0
# Load hosts: until all have joined, until one that was lost is back, and each line of the beginning.
LOAD_HOSTS_JOIN = 600.0
LOAD_HOST_REJOIN = 120.0
LOAD_HOST_GREETING = 10.0
STATISTICS_SETTLE = 5.0
SAMPLER_REPLY = 30.0
VERSION_COMMAND = 60.0
GIT = 60.0
PACKAGE_INDEX = 60.0
MANAGEMENT_COMMAND = 120.0
STOP_INT = 5.0
STOP_TERM = 5.0
# Leftovers of a killed run: to leave by themselves, and all in all.
STOP_GRACE = 3.0
LEFTOVERS = 15.0
HTTP_PROBE = 15.0


def wait_for(probe: Callable[[], T | None], limit: float, every: float = 0.02) -> T | None:
    """Calls `probe` until it returns something other than None, at most `limit` seconds; None on time-out."""
    deadline = time.monotonic() + limit
    while True:
        found = probe()
        if found is not None:
            return found
        if time.monotonic() >= deadline:
            return None
        time.sleep(every)


def seconds_of(action: Callable[[], object]) -> float:
    """How long the action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
