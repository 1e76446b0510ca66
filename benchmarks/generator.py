"""Requests a second on one core: the benchmark user and Locust's FastHttpUser, each recorded and not, in turns."""

import shutil
import statistics
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import psutil

from runner.load.generator import Driven, LoadGenerator
from runner.provision.native import Command, NativeProvider

PROFILE = """
from locust import task
from {module} import {user}

class Visitor({user}):
    @task
    def ask(self): self.client.get("/")
"""
USERS = {
    "BenchmarkUser": "runner.load.user",
    "FastHttpUser": "locust",
}
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


def main() -> None:
    """Prints the medians over rounds; nothing where nginx is missing or there is no second core for it."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
    if nginx is None or (psutil.cpu_count() or 1) < 2:
        print("generator: needs nginx and two cores", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as name, closing(NativeProvider()) as provider:
        folder = Path(name)
        address = provider.free_address()
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, address=address))
        server = provider.start("nginx", Command([nginx, "-c", str(folder / "nginx.conf")]), address, folder / "log")
        for process in server.processes():
            process.cpu_affinity([0])
        loads = {}
        for user, module in USERS.items():
            profile = folder / f"{user}.py"
            profile.write_text(PROFILE.format(module=module, user=user))
            load = LoadGenerator(provider, user, folder / f"{user}.raw", folder / f"{user}.log")
            psutil.Process(load.services[0].pid).cpu_affinity([1])
            load.configure(profile, address, keep_alive=True, model="closed")
            loads[user] = load
        _report(_in_turns(loads))
        for load in loads.values():
            load.close()


def _in_turns(loads: dict[str, LoadGenerator]) -> dict[str, list[Driven]]:
    driven: dict[str, list[Driven]] = {user: [] for user in loads}
    for number in range(ROUNDS):
        for user, load in loads.items():
            window = load.window(number, users=CONCURRENCY, lead_in=0.2, seconds=SECONDS, seed="")
            assert window.errors == 0
            driven[user].append(window)
    return driven


def _report(driven: dict[str, list[Driven]]) -> None:
    rates = {user: [one.requests / (one.stopped - one.begun) for one in windows] for user, windows in driven.items()}
    for user, windows in driven.items():
        cost = statistics.median(one.cpu_seconds / one.requests for one in windows) * 1e6
        print(f"generator: {user} {statistics.median(rates[user]):,.0f} requests/s recorded, {cost:.0f} µs of CPU each")
    pairs = zip(rates["BenchmarkUser"], rates["FastHttpUser"], strict=True)
    print(f"generator: {statistics.median(ours / theirs for ours, theirs in pairs):.1f} times FastHttpUser, in turns")
