"""What recording costs the load generator: the listener, timed by itself."""

import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

from runner.load.recorder import Recorder

REQUESTS = 100_000
ROUNDS = 5
TIMING = "app;dur=3.250, pool;dur=0.000, connect;dur=1.125, sql;dur=0.750, opened;desc=1, worker;desc=41.7001"


def listener_microseconds() -> float:
    """Microseconds that the listener takes for one request, the best of some rounds."""
    answer = SimpleNamespace(status_code=200, headers={"server-timing": TIMING})
    best = float("inf")
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            recorder = Recorder(Path(folder) / "requests.raw")
            begun = time.perf_counter()
            for _ in range(REQUESTS):
                recorder.on_request("GET", "/products/", 5.0, answer, None)
            best = min(best, time.perf_counter() - begun)
            assert recorder.recorded == REQUESTS, recorder.faults
    return best / REQUESTS * 1e6


def measure() -> dict[str, float]:
    """What the listener takes for a request, and how many it could take if it did nothing else."""
    microseconds = listener_microseconds()
    return {"listener_microseconds": microseconds, "listener_rps": 1e6 / microseconds}
