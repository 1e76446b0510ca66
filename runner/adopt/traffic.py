"""Weighted requests as a Locust file that anybody can read, change and run."""

from collections.abc import Sequence
from pathlib import Path

from runner.adopt.access_log import WeightedRequest, read_access_log
from runner.errors import UsageError

_FILE = '''"""{about}

Also: `locust -f {name}`. Change it at will: it is a Locust file as any other.
"""

import random

from locust import task

from runner.load.user import BenchmarkUser

#: Method, path, its name in tables, and how often it is asked for.
REQUESTS = [
{rows}
]
WEIGHTS = [weight for *_, weight in REQUESTS]


class Visitor(BenchmarkUser):
    @task
    def ask(self) -> None:
        method, path, name, _ = random.choices(REQUESTS, WEIGHTS)[0]
        if method == "GET":
            self.client.get(path, name=name)
        else:
            self.client.post(path, name=name)
'''
#: What a BenchmarkUser can send.
METHODS = ("GET", "POST")


def parse_methods(text: str) -> list[str]:
    """`GET,POST` as the command line has it; UsageError for what no BenchmarkUser sends."""
    methods = [method.strip().upper() for method in text.split(",") if method.strip()]
    if not methods or not set(methods) <= set(METHODS):
        raise UsageError(f"--methods: found {text!r}, allowed: {' and '.join(METHODS)}, with a comma between")
    return methods


def write_traffic(log: Path, methods: Sequence[str], out: Path, *, force: bool) -> str:
    """Makes the Locust file of an access log; returns what to tell of it."""
    if out.exists() and not force:
        raise UsageError(f"{out} is there already: --force writes over it, --out FILE elsewhere")
    traffic = read_access_log(log, methods)
    about = f"Traffic from {log.name}: {traffic.taken} of its {traffic.lines} lines."
    out.write_text(as_locust_file(traffic.requests, about, out.name), encoding="utf-8")
    kinds = len({request.name for request in traffic.requests})
    return f"{out}: {len(traffic.requests)} requests of {kinds} kinds, {traffic.taken} of {traffic.lines} lines"


def as_locust_file(requests: Sequence[WeightedRequest], about: str, name: str) -> str:
    """The file's text; `about` is its first line."""
    rows = "\n".join(f"    ({one.method!r}, {one.path!r}, {one.name!r}, {one.weight})," for one in requests)
    return _FILE.format(about=about.replace('"""', "'''").replace("\\", "/"), name=name, rows=rows)
