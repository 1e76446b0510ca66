"""What the timing middleware costs the app: in one process, on and off in turns, and on two stacks."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.pairs import cpu_seconds, ratio, throughput
from benchmarks.stack import warm_stacks
from runner.provision.commands import run_command
from runner.provision.service import Command
from runner.stacks.app import load_app, make_overlay
from runner.stacks.environment import build_environment
from runner.stacks.versions import Recipe

if TYPE_CHECKING:
    from runner.evidence import Stretch

#: Pages on SQLite in the app's own process are as quick as they can be: what is added weighs the most.
PATHS = ("/products/4217/", "/products/?page=3")
CELL = "pg-uwsgi-persistent"
ROUNDS = 20
LIMIT = 120.0


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """What the timings add to the app's work in one process, and how two stacks fare that differ in nothing else."""
    measured = _in_process()
    added: dict[str, float] = measured["added"]
    pages = []
    for path, page in measured["pages"].items():
        seconds = added["request"] + added["connection"] + page["statements"] * added["statement"]
        share = seconds / page["seconds"]
        own = {"path": path, "microseconds": page["seconds"] * 1e6, "statements": page["statements"]}
        pages.append({**own, "added_microseconds": seconds * 1e6, "added_share": share})
    return {
        "added_microseconds": {name: seconds * 1e6 for name, seconds in added.items()},
        "pages": pages,
        "cell": CELL,
        "on_beside_off": _in_turns(rounds),
    }


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


def _in_turns(rounds: int) -> list[dict[str, Any]]:
    """Timings on beside off, round by round, every other round the other way about."""
    seen: list[tuple[Stretch, Stretch]] = []
    with warm_stacks(CELL, [{"timing": "off"}, {"timing": "full"}]) as attempts:
        for number in range(rounds):
            for attempt in attempts if number % 2 else reversed(attempts):
                attempt.window(number, 0)
            off, full = (attempt.evidence.windows[-1] for attempt in attempts)
            seen.append((off, full))
    figures = {"throughput": throughput, "app CPU time a request": cpu_seconds}
    return [
        {"figure": name, **ratio([figure(full) for _, full in seen], [figure(off) for off, _ in seen])}
        for name, figure in figures.items()
    ]
