"""Whole runs on real servers: what the books say, what is kept, and what is left behind (nothing)."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.processes import ROOT, Family, connbench

pytestmark = pytest.mark.server

MATRICES = ROOT / "tests" / "matrices"
RUN_LIMIT = 500


def run_matrix(name: str, out: Path) -> tuple[int, Path, str]:
    """Runs one of the test matrices; returns the exit code, the run's folder and what was printed."""
    log = out / f"{name}.log"
    process = connbench(["run", "-m", str(MATRICES / f"{name}.yaml"), "--seed", "1", "--out", str(out)], log)
    family = Family(process.pid)
    family.watch_until(lambda: process.poll() is not None, RUN_LIMIT)
    assert family.seen, "a run starts servers"
    assert family.alive() == []
    return process.returncode, (out / "latest").resolve(), log.read_text()


def output_of(*arguments: str) -> str:
    """What a `connbench` command prints that must succeed."""
    command = [sys.executable, "-m", "runner", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path, str]:
    return run_matrix("small", tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def summary(small: tuple[int, Path, str]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((small[1] / "summary.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def cells(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {cell["id"]: cell for cell in summary["cells"]}


def connections(cell: dict[str, Any]) -> dict[str, float]:
    figures = cell["metrics"]["connections"]
    names = ("peak", "opened", "opened_per_request", "refused", "lingering")
    return {name: figures[name]["value"] for name in names}


def test_every_cell_is_ok_or_skipped_with_a_reason(
    small: tuple[int, Path, str], cells: dict[str, dict[str, Any]]
) -> None:
    code, _, printed = small
    statuses = {name: (cell["status"], cell["reason"]) for name, cell in cells.items()}
    assert len(cells) == 12
    assert {name for name, cell in cells.items() if cell["status"] == "skipped"} == {
        "my-sync-pooled",
        "my-uwsgi-pooled",
    }
    assert all(status == "ok" or (status == "skipped" and reason) for status, reason in statuses.values()), statuses
    assert code == 0, printed


def test_a_connection_for_each_request(cells: dict[str, dict[str, Any]]) -> None:
    for database in ("pg", "my"):
        for server in ("sync", "uwsgi"):
            figures = connections(cells[f"{database}-{server}-per-request"])
            assert figures["opened_per_request"] == pytest.approx(1.0, rel=0.01)
            assert figures["lingering"] == 0


def test_requests_know_what_they_opened(small: tuple[int, Path, str], cells: dict[str, dict[str, Any]]) -> None:
    """Added up over the count, and with the harness's own checks, it is what the database's books say."""
    for folder in small[1].glob("cells/*-per-request/b*-a*"):
        seen = json.loads((folder / "attempt.json").read_text())
        requests = pd.read_parquet(folder / "requests.parquet")
        opened = requests.loc[requests["window"] == -1, "opened"].sum()
        checks = seen["connections"]["database_requests"] - seen["count_requests"]
        assert opened + checks == seen["connections"]["opened"]
        assert seen["waterfall_ms"]["connect"] > 0
    for name, cell in cells.items():
        if cell["status"] == "ok":
            times = {part: number["value"] for part, number in cell["metrics"]["waterfall_ms"].items()}
            assert min(times.values()) >= 0, name
            assert (times["pool"] > 0) == ("pooled" in name)
            assert ("per-request" in name) or times["connect"] < 1, name
            assert min(times["queue"], times["sql"], times["app"]) > 0, name


def test_persistent_connections_stay(cells: dict[str, dict[str, Any]]) -> None:
    for database in ("pg", "my"):
        for server, most in (("sync", 4), ("uwsgi", 16)):
            figures = connections(cells[f"{database}-{server}-forever"])
            assert figures["opened"] <= most
            assert figures["lingering"] == figures["opened"]


def test_no_more_than_processes_times_threads(cells: dict[str, dict[str, Any]]) -> None:
    for name, cell in cells.items():
        if cell["status"] == "ok" and "uwsgi" in name:
            assert connections(cell)["peak"] <= 16, name


def test_the_pool_keeps_to_its_size(cells: dict[str, dict[str, Any]]) -> None:
    for server in ("sync", "uwsgi"):
        figures = connections(cells[f"pg-{server}-pooled"])
        assert 2 * 4 <= figures["opened"] <= 4 * 4


def test_predictions_hold(cells: dict[str, dict[str, Any]]) -> None:
    for name, cell in cells.items():
        if cell["status"] == "ok":
            assert cell["metrics"]["connections"]["as_predicted"], (name, cell["metrics"]["connections"])


def test_raw_data_adds_up(small: tuple[int, Path, str]) -> None:
    attempts = sorted(small[1].glob("cells/*/b*-a*"))
    assert len(attempts) == 10
    for folder in attempts:
        record = json.loads((folder / "attempt.json").read_text())
        requests = pd.read_parquet(folder / "requests.parquet")
        assert len(requests) == record["requests"] > 50
        assert record["agreement"]["locust"] == record["agreement"]["server_log"] == len(requests)
        assert (requests["worker"] > 0).all()
        assert len(record["windows"]) == 2
        samples = pd.read_parquet(folder / "samples.parquet")
        count = next(phase for phase in record["phases"] if phase["name"] == "count")
        during = samples[samples["offset"].between(count["offset"], count["offset"] + count["seconds"])]
        assert len(during) >= 0.5 * 20 * count["seconds"]
        assert samples["total"].max() <= 20
        host = pd.read_parquet(folder / "host.parquet")
        assert set(host["component"].unique()) == {"app", "database", "load"}
        assert {path.name for path in (folder / "logs").iterdir()} >= {"app.log", "access.log", "load.log"}
        assert record["resources"]["app"]["cpu_seconds_per_request"] > 0
        assert record["resources"]["app"]["peak_memory_bytes"] > 20_000_000


def test_no_password_in_the_results(small: tuple[int, Path, str]) -> None:
    for path in small[1].glob("cells/*/*/attempt.json"):
        databases = json.loads(path.read_text())["django_databases"]
        assert databases["default"]["PASSWORD"] == "********"


def test_what_the_run_really_was_is_recorded(summary: dict[str, Any]) -> None:
    run = summary["run"]
    products = {database["name"]: database["product"] for database in run["databases"]}
    assert products["pg"].startswith("PostgreSQL ")
    assert products["my"].startswith(("MariaDB ", "MySQL "))
    assert run["versions"]["psycopg3/django"].startswith("5.2")
    assert 0 < run["measuring_seconds"] < run["wall_seconds"]


def test_report_and_tables_can_be_made_again(small: tuple[int, Path, str]) -> None:
    folder = small[1]
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    (folder / "summary.json").unlink()
    assert "report.html" in output_of("report", str(folder))
    assert "pg-uwsgi-forever" in output_of("table", str(folder), "--format", "md")
    assert (folder / "report.html").read_bytes() == before


def test_a_failing_cell_does_not_stop_the_run(tmp_path: Path) -> None:
    code, folder, printed = run_matrix("faulty", tmp_path)
    cells = {cell["id"]: cell for cell in json.loads((folder / "summary.json").read_text())["cells"]}
    assert code == 1, printed
    assert {name: cell["status"] for name, cell in cells.items()} == {
        "good-sync-per-request": "ok",
        "good-sync-starved": "failed",
        "broken-sync-per-request": "failed",
        "broken-sync-starved": "failed",
    }
    assert "500" in cells["good-sync-starved"]["reason"]
    assert "PoolTimeout" in cells["good-sync-starved"]["reason"]
    assert "work_mem" in cells["broken-sync-per-request"]["reason"]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Family, Path]]:
    """A run of a part of the small matrix that has reached its second group."""
    matrix = ["-m", str(MATRICES / "small.yaml"), "--only", "*-forever", "--quick"]
    process = connbench(["run", *matrix, "--out", str(tmp_path / "out")], tmp_path / "log")
    family = Family(process.pid)
    finished = tmp_path / "out" / "latest" / "cells"
    try:
        family.watch_until(lambda: len(list(finished.glob("*/b1-a1/attempt.json"))) >= 2, RUN_LIMIT)
        yield process, family, tmp_path / "out" / "latest"
    finally:
        process.kill()
        process.wait()


def test_interrupted(running: tuple["subprocess.Popen[bytes]", Family, Path]) -> None:
    """Ctrl-C: what was measured is kept, everything is stopped, exit code 130."""
    process, family, folder = running
    process.send_signal(signal.SIGINT)
    family.watch_until(lambda: process.poll() is not None, 120)
    assert process.returncode == 130
    assert family.alive() == []
    assert json.loads((folder / "end.json").read_text())["status"] == "interrupted"
    statuses = [json.loads(path.read_text())["verdict"]["status"] for path in folder.glob("cells/*/b1-a1/attempt.json")]
    assert statuses.count("ok") >= 2
    assert (folder / "report.html").exists()


def test_killed(running: tuple["subprocess.Popen[bytes]", Family, Path]) -> None:
    """`kill -9` of the runner: nothing that it started outlives it by more than moments."""
    process, family, _ = running
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    family.watch_until(lambda: not family.alive(), 60)
