"""Whatever breaks inside an attempt: the right verdict, the cause in words, in bounded time, and the run goes on.

Real apps, databases and generators are broken, ended and suspended here; limits are shortened to be waited for.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import pandas as pd
import psutil
import pytest

from runner import waiting
from runner.errors import ResultsUnwritable
from runner.flags import GROWTH_READINGS
from runner.results import store
from runner.results.schema import AttemptRecord, RunEnd
from tests.breakage import Clock, Laboratory, faulty_app
from tests.counting import injected, left_behind
from tests.processes import ROOT, left_in, own_tmpdir

pytestmark = pytest.mark.server

Records = dict[tuple[str, int], AttemptRecord]
AGE = {"conn_max_age": 0}


@pytest.fixture(autouse=True)
def tmpdir_of_runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing is ever left in it."""
    with own_tmpdir(monkeypatch) as folder:
        yield folder
        waiting.wait_for(lambda: not left_in(folder) or None, 30)
        left = [*left_in(folder), *map(str, folder.glob("connbench-*"))]
        left_behind(len(left))
        assert left == []


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    return Laboratory(tmp_path, monkeypatch)


def verdict(records: Records, cell: str, block: int = 1) -> str:
    found = records[f"db-sync-{cell}", block].verdict
    return f"{found.status}: {found.reason}"


def assert_ok(records: Records, cell: str, block: int = 1) -> None:
    assert verdict(records, cell, block) == "ok: "


# --- the app ---


def test_apps_that_do_not_come_up(laboratory: Laboratory, tmp_path: Path) -> None:
    """They fail for different reasons, so that the run goes on to the good one."""
    faults = {"raises": "No module named 'no_such_module'", "answers-500": "answered 500", "never-answers": "not ready"}
    for fault in faults:
        app = faulty_app(fault.replace("-", " "), tmp_path / "apps")
        laboratory.apps[f"db-sync-{fault}"] = app
    # The one has to have answered once; the other never does.
    laboratory.patience = {"db-sync-answers-500": 15.0, "db-sync-never-answers": 4.0}
    began = time.monotonic()
    with injected("the app does not start"), injected("the app answers 500"), injected("the app never answers"):
        records, end = laboratory.run(laboratory.plan({**dict.fromkeys(faults, AGE), "good": AGE}))
        assert end.status == "finished"
        for fault, words in faults.items():
            assert verdict(records, fault).startswith("failed: app of db-sync-")
            assert words in verdict(records, fault)
            assert "its log ends:" in verdict(records, fault)
        assert_ok(records, "good")
    assert time.monotonic() - began < 400, "none was waited for in vain"


def test_apps_that_break_under_load(laboratory: Laboratory, tmp_path: Path) -> None:
    faults = {"dies-under-load": "the app server ended under load", "hangs-under-load": "the app hangs"}
    for fault in (*faults, "leaks"):
        app = faulty_app(fault.replace("-", " "), tmp_path / "apps")
        laboratory.apps[f"db-sync-{fault}"] = app
    names = ["dies-under-load", "leaks", "hangs-under-load", "good"]
    with injected("the app dies under load"), injected("the app hangs under load"), injected("the app leaks memory"):
        records, end = laboratory.run(laboratory.plan(dict.fromkeys(names, AGE), count="5s"))
        assert end.status == "finished"
        for fault, words in faults.items():
            assert verdict(records, fault).startswith("failed:")
            assert words in verdict(records, fault)
            assert "its log ends:" in verdict(records, fault)
        assert_ok(records, "good")
        assert_ok(records, "leaks")
        host = pd.read_parquet(next((tmp_path / "cells" / "db-sync-leaks").glob("b1-a1/host.parquet")))
        seen = host.loc[host["component"] == "app", "memory_bytes"].notna().sum()
        # Once a second, unless the machine had other things to do.
        if seen >= GROWTH_READINGS:
            assert "memory-grows" in [flag.code for flag in records["db-sync-leaks", 1].flags]
        assert "memory-grows" not in [flag.code for flag in records["db-sync-good", 1].flags]


def test_three_in_a_row_that_fail_alike_stop_the_run(laboratory: Laboratory, tmp_path: Path) -> None:
    app = faulty_app("raises", tmp_path / "apps")
    plan = laboratory.plan(dict.fromkeys(("one", "two", "three", "four"), AGE), blocks=3)
    laboratory.apps = dict.fromkeys(plan.cells, app)
    with injected("three cells in a row fail alike"):
        records, end = laboratory.run(plan)
        assert end.status == "stopped"
        assert re.search(r"3 in a row failed alike \((db-sync-\w+, ){2}db-sync-\w+\)", end.finding)
        assert "no_such_module" in end.finding
        assert {block for _, block in records} == {1}
        # Whichever cell was to come fourth was not tried, and `resume` will.
        tried = [record for record in records.values() if not record.cut_off]
        assert len(tried) == 3
        assert all("no_such_module" in record.verdict.reason for record in tried)
        assert all("the run was stopped" in record.verdict.reason for record in records.values() if record.cut_off)


# --- the database ---


def family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def suspend_all(process: psutil.Process) -> None:
    for one in family(process):
        one.suspend()


def cut_all_sessions(laboratory: Laboratory) -> Callable[[], object]:
    """The server goes on, and throws everybody out."""

    def cut() -> None:
        for one in laboratory.service("db").children():
            # A backend whose session has just ended by itself is no fault of the test.
            with suppress(psutil.NoSuchProcess):
                if "connbench" in " ".join(one.cmdline()):
                    one.send_signal(signal.SIGTERM)

    return cut


DATABASE_FAULTS: list[tuple[str, str, Callable[[Laboratory], Callable[[], object]], str]] = [
    ("postgres", "dies", lambda lab: lambda: lab.service("db").kill(), "has ended"),
    ("mysql", "dies", lambda lab: lambda: lab.service("db").kill(), "has ended"),
    ("postgres", "hangs", lambda lab: lambda: suspend_all(lab.service("db")), "did not answer within"),
    ("postgres", "refuses the harness", cut_all_sessions, "has cut us off"),
]


@pytest.mark.parametrize(
    ("engine", "fault", "action", "words"),
    DATABASE_FAULTS,
    ids=[f"{engine} {fault}" for engine, fault, *_ in DATABASE_FAULTS],
)
def test_a_database_that_breaks_under_load(
    laboratory: Laboratory,
    engine: str,
    fault: str,
    action: Callable[[Laboratory], Callable[[], object]],
    words: str,
) -> None:
    """Its block's cells are lost with it; the next block has another server."""
    plan = laboratory.plan({"one": AGE}, blocks=2, count="1500ms", engine=engine)
    laboratory.injector.at("db-sync-one", "count", action(laboratory))
    with injected(f"the database {fault}", engine):
        records, end = laboratory.run(plan)
        assert end.status == "finished"
        assert verdict(records, "one", 1).startswith("failed:")
        assert words in verdict(records, "one", 1)
        assert "its log ends:" in verdict(records, "one", 1)
        assert_ok(records, "one", 2)
        assert any("starting another" in line for line in laboratory.injector.lines)


def test_a_database_that_refuses_new_connections(laboratory: Laboratory) -> None:
    """The sessions that there are go on: it is the app of connections that are opened anew that has none any more."""
    plan = laboratory.plan({"one": AGE, "good": AGE}, count="2s")

    def refuse() -> None:
        """The copies of the template: those of the cells whose stacks are up."""
        laboratory.administer("UPDATE pg_database SET datallowconn = false WHERE datname LIKE 'b1%one'")

    laboratory.injector.at("db-sync-one", "count", refuse)
    with injected("the database refuses connections"):
        records, end = laboratory.run(plan)
        assert end.status == "finished"
        assert verdict(records, "one").startswith("failed:")
        assert "not currently accepting connections" in verdict(records, "one")
        assert "its log ends:" in verdict(records, "one")
        assert_ok(records, "good")


def test_a_database_that_does_not_start_takes_its_own_cells_alone(laboratory: Laboratory) -> None:
    plan = laboratory.plan({"one": AGE}, settings={"work_mem": "plenty"})
    with injected("the database does not start"):
        records, end = laboratory.run(plan)
        assert end.status == "finished"
        assert "work_mem" in verdict(records, "one")


# --- the load generator and the samplers ---


def test_helpers_that_break(laboratory: Laboratory) -> None:
    """Each costs its own attempt; the next block has new ones."""
    plan = laboratory.plan({"dies": AGE, "stalls": AGE, "good": AGE, "unseen": AGE}, blocks=2, count="1500ms")
    at = laboratory.injector.at
    at("db-sync-dies", "count", lambda: laboratory.service("load generator (db-sync-dies)").kill())
    at("db-sync-stalls", "count", lambda: laboratory.service("load generator (db-sync-stalls)").suspend())
    at("db-sync-unseen", "count", lambda: laboratory.service("sampler").kill())
    with injected("Locust dies"), injected("Locust stalls"), injected("the database sampler is cut off"):
        records, end = laboratory.run(plan)
        assert end.status == "finished"
        assert "the load generator (db-sync-dies) was ended by SIGKILL" in verdict(records, "dies")
        assert "the load generator (db-sync-stalls) did not answer within" in verdict(records, "stalls")
        assert "the database sampler" in verdict(records, "unseen")
        for cell in ("dies", "stalls", "good", "unseen"):
            assert_ok(records, cell, 2)


FAKED = """
import os, runpy
from runner.provision import commands
handed_on = commands.base_environment
faked = {name: value for name, value in os.environ.items() if name in ("LD_PRELOAD", "CLOCK_SHIFT")}
commands.base_environment = lambda: {**handed_on(), **faked}
runpy.run_module("runner", run_name="__main__")
"""


def test_a_clock_that_jumps(tmpdir_of_runs: Path, tmp_path: Path) -> None:
    """A day back in the middle of the first group and three forward in the second, for the runner, the app, the
    database and Locust alike. Nothing is measured by the wall clock."""
    clock, out, log = Clock(tmpdir_of_runs), tmp_path / "out", tmp_path / "log"
    arguments = ["run", "-m", str(ROOT / "tests" / "matrices" / "tiny.yaml"), "--out", str(out)]
    with injected("the clock jumps"), log.open("wb") as output:
        begun = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-c", FAKED, *arguments],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **clock.environment},
        )
        try:
            events = out / "latest" / "events.jsonl"
            for wanted, shift in ((1, timedelta(days=-1)), (6, timedelta(days=3))):
                waited = waiting.wait_for(partial(_has_lines, events, wanted, process), 120)
                assert waited, log.read_text()
                clock.set(shift)
            assert process.wait(120) == 0, log.read_text()
        finally:
            process.terminate()
            process.wait(60)
        took = time.monotonic() - begun
        folder = store.RunFolder(out / "latest")
        records = {(record.cell, record.block): record for _, record in folder.attempts()}
        assert len(records) == 4
        assert {record.verdict.status for record in records.values()} == {"ok"}
        # The clock did jump, and back again by more.
        moments = [datetime.fromisoformat(json.loads(line)["at"]) for line in events.read_text().splitlines()]
        steps = [(later - earlier).total_seconds() for earlier, later in pairwise(moments)]
        assert min(steps) < -80_000 < 80_000 < max(steps), steps
        for record in records.values():
            assert all(0 <= phase.seconds < took for phase in record.phases)
            assert all(0.2 < window.seconds < took for window in record.windows)
            assert record.latency_ms is not None
            assert 0 < (record.latency_ms.max or 0) < 1000 * took
        end = folder.end()
        assert end is not None
        assert 0 < (end.wall_seconds or 0) < took


def _has_lines(path: Path, number: int, process: "subprocess.Popen[bytes]") -> bool | None:
    """Also where the process has ended and no more will come."""
    lines = len(path.read_text().splitlines()) if path.exists() else 0
    return lines >= number or process.poll() is not None or None


# --- disks ---


@pytest.fixture
def small_disk(tmpdir_of_runs: Path) -> Iterator[Callable[[int], Path]]:
    """A file system of so many megabytes in memory."""
    mounted: list[Path] = []

    def mount(megabytes: int) -> Path:
        path = tmpdir_of_runs / f"disk-{len(mounted)}"
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=711", "connbench-test", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no small disk can be mounted here, so a full one is NOT tested: {done.stderr.strip()}")
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_database_whose_disk_is_full(
    laboratory: Laboratory, small_disk: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for the server and its template, and then somebody fills the disk."""
    disk = small_disk(400)
    monkeypatch.setenv("TMPDIR", str(disk))
    monkeypatch.setattr("tempfile.tempdir", str(disk))
    plan = laboratory.plan({"one": AGE, "two": AGE})
    filler = disk / "filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 1_000_000)
            except OSError:
                pass

    laboratory.injector.at("db-sync-one", "idle", fill, delay=0.0)
    with injected("the database's disk is full"):
        records, _ = laboratory.run(plan)
        filler.unlink()
        # Whichever file it was that PostgreSQL could not write first.
        assert re.search("No space left on device|could not (write|extend|create)", verdict(records, "two"))


def test_results_whose_disk_is_full(laboratory: Laboratory, small_disk: Callable[[int], Path]) -> None:
    """The run ends in words; what is finished is whole, and half an attempt is not seen."""
    laboratory.folder = small_disk(3)
    plan = laboratory.plan({"one": AGE}, blocks=2)

    def fill() -> None:
        with (laboratory.folder / "filler").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass

    laboratory.injector.at("db-sync-one", "idle", fill, delay=0.0)
    with injected("the results' disk is full"):
        with pytest.raises(ResultsUnwritable, match=r"No space left on device.*connbench resume") as caught:
            laboratory.run(plan)
        assert caught.value.exit_code == 3
        (laboratory.folder / "filler").unlink()
        assert store.RunFolder(laboratory.folder).attempts() == []
        end: RunEnd | None = store.RunFolder(laboratory.folder).end()
        assert end is None or end.status == "stopped"
