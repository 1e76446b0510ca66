"""What the timing middleware costs the app: in one process, on and off in turns, and on two stacks."""

import json
import math
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.stack import warm_stacks
from runner.analysis.inference import Interval, t_interval
from runner.evidence import Stretch
from runner.provision.native import Command, run_command
from runner.stacks.app import load_app, make_overlay
from runner.stacks.environment import build_environment
from runner.stacks.versions import Recipe

#: Pages on SQLite in the app's own process are as quick as they can be: what is added weighs the most.
PATHS = ("/products/4217/", "/products/?page=3")
CELL = "pg-uwsgi-persistent"
ROUNDS = 20
LIMIT = 120.0


def main() -> None:
    """Prints what the timings add to the app's work, then how two stacks fare that differ in nothing else."""
    measured = _in_process()
    added: dict[str, float] = measured["added"]
    print(f"timing: adds {', '.join(f'{seconds * 1e6:.2f} µs a {name}' for name, seconds in added.items())}")
    for path, page in measured["pages"].items():
        seconds = added["request"] + added["connection"] + page["statements"] * added["statement"]
        of = f"{page['seconds'] * 1e6:.0f} µs with {page['statements']} statements and a connection"
        print(f"  {path}: {seconds * 1e6:.1f} µs, {seconds / page['seconds']:.2%} of {of}")
    for figure, ratios in _in_turns().items():
        print(f"  {CELL}: {_text(t_interval(ratios))} of its {figure} without, {ROUNDS} windows each in turns")


def _text(interval: Interval) -> str:
    low, high = (math.exp(interval.mean + sign * (interval.half_width or 0.0)) for sign in (-1, 1))
    return f"{math.exp(interval.mean):.4f} ({low:.4f} to {high:.4f})"


def _in_process() -> dict[str, Any]:
    """What `benchmarks.timing_in_app` prints, in the app's environment, of a shop on SQLite."""
    shop, environment = load_app("shop"), build_environment(Recipe("psycopg3"))
    python = str(environment.bin / "python")
    with tempfile.TemporaryDirectory(prefix="connbench-benchmark-") as folder:
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/shop.sqlite3"}
        env = make_overlay(shop, database, "127.0.0.1").env
        for arguments in shop.description.setup:
            run_command(Command([python, "manage.py", *arguments], env, shop.folder), limit=LIMIT, what="the shop")
        script = Path(__file__).with_name("timing_in_app.py")
        output = run_command(Command([python, str(script), *PATHS], env, shop.folder), limit=LIMIT, what=script.name)
    measured: dict[str, Any] = json.loads(output)
    return measured


def _in_turns() -> dict[str, list[float]]:
    """Log-ratios round by round, every other round the other way about."""
    figures = {"throughput": _throughput, "app's CPU time a request": _cpu_seconds}
    ratios: dict[str, list[float]] = {name: [] for name in figures}
    with warm_stacks(CELL, [{"timing": "off"}, {"timing": "full"}]) as attempts:
        for number in range(ROUNDS):
            for attempt in attempts if number % 2 else reversed(attempts):
                attempt.window(number, 0)
            off, full = (attempt.evidence.windows[-1] for attempt in attempts)
            for name, figure in figures.items():
                ratios[name].append(math.log(figure(full) / figure(off)))
    return ratios


def _throughput(window: Stretch) -> float:
    return window.driven.requests / (window.driven.stopped - window.driven.begun)


def _cpu_seconds(window: Stretch) -> float:
    return window.cpu_seconds["app"] / window.driven.requests
