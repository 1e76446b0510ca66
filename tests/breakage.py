"""Runs into which a fault is put at a named moment: real servers, and limits short enough to wait for."""

import io
import shutil
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from runner import group, preparation, waiting
from runner.attempt import Attempt
from runner.group import _bring_up as bring_up
from runner.matrix.expansion import expand
from runner.plan import Plan, make_plan
from runner.provision.native import NativeProvider
from runner.provision.roles import Roles
from runner.provision.service import Provider
from runner.results.schema import AttemptRecord, RunEnd
from runner.results.store import RunFolder
from runner.run import Run
from runner.site import DockerSite, NativeSite
from runner.stacks.app import App, load_app
from runner.stacks.databases import make_database
from runner.stacks.databases.base import Database, DatabaseSpec
from runner.stacks.databases.postgres import ADMIN
from runner.stacks.databases.postgres_monitor import WayIn, connect
from runner.stacks.servers.base import PROBE_QUERY
from tests.matrix.examples import make_matrix

#: Wrapped around the shop's application: `requests` counts those of the load, not the harness's own.
WRAPPED = """
import itertools, os, signal, time
from runner_probe import PROBE
from shop.wsgi import application as shop
requests, hoard, begun = itertools.count(1), [], time.monotonic()
def application(environ, start_response):
    probe = PROBE in environ["QUERY_STRING"]
    number = 0 if probe else next(requests)
    {fault}
    return shop(environ, start_response)
"""
FAULTS = {
    "takes 500 MB": "if number: hoard.append(os.urandom(1024) * 500_000)",
    "raises": "import no_such_module",
    "answers 500": (
        "inner = start_response\n"
        "    def start_response(status, *more): return inner('500 Internal Server Error', *more)"
    ),
    "never answers": "time.sleep(600)",
    # For good: gunicorn puts a fresh worker in the place of one that has been silent for 30 s.
    "hangs under load": (
        "hung = __file__ + '.hung'\n"
        "    if number > 3 or (number and os.path.exists(hung)):\n"
        "        open(hung, 'w').close()\n"
        "        time.sleep(600)"
    ),
    "dies under load": "if number > 3: os.kill(os.getppid(), signal.SIGKILL)",
    # By the clock, so that it is the same on a slow machine: 30 MB a second in each worker.
    "leaks": "while len(hoard) < 30 * (time.monotonic() - begun): hoard.append(bytearray(os.urandom(1024) * 1024))",
}


def faulty_app(fault: str, folder: Path) -> App:
    """A copy of the shop that has one fault."""
    shop = load_app("shop")
    copy = folder / fault.replace(" ", "-")
    shutil.copytree(shop.folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "runner_probe.py").write_text(f"PROBE = {PROBE_QUERY!r}\n")
    source = FAULTS[fault] if fault == "raises" else WRAPPED.format(fault=FAULTS[fault])
    (copy / "faulty.py").write_text(source)
    return App(fault, copy, shop.description.model_copy(update={"wsgi": "faulty:application"}), copy / "app.yaml")


class Injector:
    """A reporter that does something when a cell reaches a phase for the first time, `delay` seconds into it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.actions: dict[tuple[str, str], tuple[float, Callable[[], object]]] = {}
        self.timers: list[threading.Timer] = []

    def at(self, cell: str, phase: str, action: Callable[[], object], delay: float = 0.3) -> None:
        self.actions[cell, phase] = (delay, action)

    def phase(self, cell: str, phase: str) -> None:
        if found := self.actions.pop((cell, phase), None):
            timer = threading.Timer(*found)
            timer.start()
            self.timers.append(timer)

    def advance(self, seconds: float) -> None:
        pass

    def line(self, text: str) -> None:
        self.lines.append(text)

    def join(self) -> None:
        for timer in self.timers:
            timer.join()


class Laboratory:
    """Runs a plan in this process and hands back its records by cell and block."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, site: NativeSite | DockerSite | None = None
    ) -> None:
        """On this machine, unless `site` is another place."""
        self.folder = folder
        self.site = site or NativeSite()
        self.injector = Injector()
        self.providers: list[Provider] = []
        self.databases: list[Database] = []
        self.apps: dict[str, App] = {}
        #: Cells that need not be waited for as long as others, in seconds.
        self.patience: dict[str, float] = {}
        for limit, seconds in SHORT.items():
            monkeypatch.setattr(waiting, limit, seconds)
        monkeypatch.setattr(preparation, "make_database", self._make_database)
        monkeypatch.setattr(group, "_bring_up", self._bring_up)

    def plan(self, connections: Mapping[str, Any], *, blocks: int = 1, count: str = "1s", **database: Any) -> Plan:
        """PostgreSQL (or what `database` says) under gunicorn's sync workers, a cell for each of the connections."""
        spec = {"engine": "postgres", **database}
        matrix = make_matrix(
            {"database": ["db"], "server": ["sync"], "connection": list(connections)},
            databases={"db": spec},
            servers={"sync": {"kind": "gunicorn", "worker_class": "sync", "workers": 2}},
            connections=dict(connections),
            load={
                "profile": "read",
                "users": 4,
                "count": count,
                "idle": "100ms",
                "windows": 1,
                "window": "300ms",
            },
        )
        return make_plan(expand(matrix), matrix, seed=1, blocks=blocks)

    def run(self, plan: Plan) -> tuple[dict[tuple[str, int], AttemptRecord], RunEnd]:
        """Runs it; the cells of each group come as the matrix lists them."""
        order = list(plan.cells)
        groups = tuple(
            replace(group, attempts=tuple(sorted(group.attempts, key=lambda one: order.index(one.cell))))
            for group in plan.groups
        )
        plan = replace(plan, groups=groups)
        environments = self.site.environments(plan.cells.values(), Console(file=io.StringIO()))
        apps = {cell: self.apps.get(cell, load_app("shop")) for cell in plan.cells}
        folder = RunFolder(self.folder)
        try:
            end = Run(plan, apps, environments, folder, self.injector, self._provider).execute()
        finally:
            self.injector.join()
        return {(record.cell, record.block): record for _, record in folder.attempts()}, end

    def _provider(self, roles: Roles) -> Provider:
        self.providers.append(self.site.provider(roles))
        return self.providers[-1]

    def _make_database(self, spec: DatabaseSpec) -> Database:
        self.databases.append(make_database(spec))
        return self.databases[-1]

    def _bring_up(self, attempt: Attempt) -> None:
        """One at a time, so that each can have its own limit."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(waiting, "APP_START", self.patience.get(attempt.cell.id, waiting.APP_START))
            bring_up(attempt)

    def administer(self, *statements: str) -> None:
        """Has the newest PostgreSQL server do this, in a session that nobody else knows of."""
        database = self.databases[-1]
        told = database.monitor_arguments()
        with connect(database.service.address, WayIn(ADMIN, told["password"])) as session:
            for statement in statements:
                session.execute(statement.encode())

    def service(self, name: str) -> psutil.Process:
        """The first process of the newest service of this machine whose name begins so."""
        provider = self.providers[-1]
        assert isinstance(provider, NativeProvider), "a container's processes are the engine's"
        found = [one for one in provider._services if one.name.startswith(name)]
        return psutil.Process(found[-1].pid)


class Clock:
    """A wall clock that can be set, for whoever has this environment; the monotonic one is left alone.

    It stands between a process and the C library (clock.c): a program that asks the kernel itself sees the machine's.
    """

    def __init__(self, folder: Path) -> None:
        """Compiles it; what is in `folder` has to be readable for servers without rights."""
        library = folder / "clock.so"
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(Path(__file__).with_name("clock.c"))]
        subprocess.run(command, check=True)
        self._shift = folder / "clock-shift"
        self._shift.write_bytes(bytes(8))
        self._shift.chmod(0o644)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(self._shift)}

    def set(self, shift: timedelta) -> None:
        """From now on it is so much later than the machine's."""
        with self._shift.open("r+b", buffering=0) as file:
            file.write(struct.pack("@q", round(shift.total_seconds())))


#: What a healthy stack stays far below even on a loaded machine, and what a test can wait for.
SHORT = {"HTTP_PROBE": 8.0, "LOAD_STOP": 10.0, "LOAD_REPLY": 20.0, "DATABASE_REPLY": 10.0}
