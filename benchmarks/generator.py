"""Requests a second on one core: BenchmarkUser, recorded and not, Locust's FastHttpUser and wrk, in turns."""

import re
import shutil
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.pairs import ratio
from runner.errors import EnvironmentUnfit
from runner.load.generator import LoadGenerator
from runner.provision.commands import run_command
from runner.provision.native import NativeProvider
from runner.provision.service import Address, Command

PROFILE = """
from locust import task
from {module} import {user}

class Visitor({user}):
    @task
    def ask(self): self.client.get("/")
"""
# What the recorder takes in is thrown away before it is packed: what is left is Locust's own statistics.
UNRECORDED = """
from runner.load.recorder import Recorder
Recorder.add = lambda self, *arguments, **more: None
"""
OURS, OURS_UNRECORDED = "BenchmarkUser", "BenchmarkUser unrecorded"
#: Module, user class, and whether its requests are recorded.
KINDS = {
    OURS: ("runner.load.user", "BenchmarkUser", True),
    OURS_UNRECORDED: ("runner.load.user", "BenchmarkUser", False),
    "FastHttpUser": ("locust", "FastHttpUser", True),
}
PATH = "/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/bin:/bin"
SERVER_CORE, LOAD_CORE = 0, 1
CONCURRENCY = 16
SECONDS = 2.0
ROUNDS = 5
# The answer carries what the overlay sends, so that all of the record is filled in.
NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000;
  server {{ listen {address}; location / {{
    add_header Server-Timing "app;dur=1.234, worker;desc=41.7001"; return 200 "a small answer\\n"; }} }}
}}
"""


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """Requests a second of each, one after the other in every round, nginx on the one core and they on the other."""
    nginx, wrk = (shutil.which(name, path=PATH) for name in ("nginx", "wrk"))
    if nginx is None or wrk is None or (psutil.cpu_count() or 1) < 2:
        raise EnvironmentUnfit("the generator's benchmark needs nginx, wrk and two cores: apt-get install nginx wrk")
    with tempfile.TemporaryDirectory() as name, closing(NativeProvider()) as provider:
        folder = Path(name)
        address = provider.free_address()
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, address=address))
        server = provider.start("nginx", Command([nginx, "-c", str(folder / "nginx.conf")]), address, folder / "log")
        for process in server.processes():
            process.cpu_affinity([SERVER_CORE])
        loads = {title: _load(provider, folder, address, title) for title in KINDS}
        found = _in_turns(loads, partial(_wrk, wrk, address), rounds)
    return _results(found)


def _load(provider: NativeProvider, folder: Path, address: Address, title: str) -> LoadGenerator:
    module, user, recorded = KINDS[title]
    profile = folder / f"{user}.py"
    profile.write_text(PROFILE.format(module=module, user=user) + ("" if recorded else UNRECORDED))
    stem = title.replace(" ", "-")
    load = LoadGenerator(provider, title, folder / f"{stem}.raw", folder / f"{stem}.log")
    psutil.Process(load.services[0].pid).cpu_affinity([LOAD_CORE])
    load.configure(profile, address, keep_alive=True, model="closed")
    return load


def _in_turns(
    loads: Mapping[str, LoadGenerator], wrk: Callable[[], float], rounds: int
) -> dict[str, list[tuple[float, float | None]]]:
    """Requests a second, and microseconds of CPU a request where that is known."""
    found: dict[str, list[tuple[float, float | None]]] = {title: [] for title in (*loads, "wrk")}
    for number in range(rounds):
        for title, load in loads.items():
            window = load.window(number, users=CONCURRENCY, lead_in=0.2, seconds=SECONDS, seed="")
            requests = window.locust_requests
            assert window.errors == 0
            seconds = window.stopped - window.begun
            found[title].append((requests / seconds, window.cpu_seconds / requests * 1e6))
        found["wrk"].append((wrk(), None))
    for load in loads.values():
        load.close()
    return found


def _wrk(program: str, address: Address) -> float:
    arguments = ["-t1", f"-c{CONCURRENCY}", f"-d{SECONDS:.0f}s", f"http://{address}/"]
    command = Command(["taskset", "-c", str(LOAD_CORE), program, *arguments])
    output = run_command(command, limit=60, what="wrk")
    found = re.search(r"Requests/sec: +([0-9.]+)", output)
    assert found is not None, output
    return float(found[1])


def _results(found: Mapping[str, Sequence[tuple[float, float | None]]]) -> dict[str, Any]:
    rates = {title: [rate for rate, _ in rounds] for title, rounds in found.items()}
    rows = []
    for title, rounds in found.items():
        costs = [cost for _, cost in rounds if cost is not None]
        cost = statistics.median(costs) if costs else None
        rows.append({"generator": title, "rps": statistics.median(rates[title]), "cpu_microseconds": cost})
    return {
        "generators": rows,
        "recording_beside_not": ratio(rates[OURS], rates[OURS_UNRECORDED]),
        "beside_FastHttpUser": ratio(rates[OURS], rates["FastHttpUser"]),
        "beside_wrk": ratio(rates[OURS], rates["wrk"]),
    }
