"""Whole runs on a PostgreSQL server that is there already, with the commands of docs/scaling.md."""

import json
import re
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from runner.analysis.summary import write_summary
from runner.report.tables import table_text
from runner.results.store import RunFolder
from tests.processes import ROOT, connbench, own_tmpdir
from tests.stacks.databases.lab import PASSWORD, VARIABLE, Lab, somebodys_server

PAGE = (ROOT / "docs" / "scaling.md").read_text("utf-8")
CHAPTER = PAGE.partition("## A database that is there already\n")[2].partition("\n## ")[0]
LINES = [line[4:] for line in CHAPTER.splitlines() if line.startswith("    ")]
LIMIT = 600

pytestmark = [pytest.mark.server, pytest.mark.timeout(LIMIT + 60)]


def documented(beginning: str) -> str:
    (line,) = [line for line in LINES if line.startswith(beginning)]
    return line


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    limit = int(re.findall(r"max_connections: (\d+)", documented("  prod-like:"))[0])
    with somebodys_server(tmp_path_factory.mktemp("lab"), limit, tls=False) as lab:
        for statement in (line for line in LINES if line.startswith("CREATE ")):
            lab.do(statement.replace("'PASSWORD'", "'" + PASSWORD.replace("'", "''") + "'"))
        yield lab


@pytest.fixture(autouse=True)
def folder(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (assignment,) = shlex.split(documented("export ").removeprefix("export "))
    variable, _, url = assignment.partition("=")
    assert variable == VARIABLE
    url = url.replace("HOST:5432", str(lab.server.service.address))
    monkeypatch.setenv(VARIABLE, url.replace("PASSWORD", quote(PASSWORD)))
    with own_tmpdir(monkeypatch) as folder:
        yield folder


def command(out: Path, *more: str) -> list[str]:
    return [*shlex.split(documented("connbench run"))[1:], "--blocks", "1", "--seed", "7", "--out", str(out), *more]


def told(process: psutil.Process) -> str:
    """What anyone on the machine can read of a process."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


def left_on(lab: Lab) -> list[str]:
    rows = lab.do("SELECT datname FROM pg_database WHERE datname LIKE 'connbench\\_%'")
    rows += lab.do("SELECT rolname FROM pg_roles WHERE rolname LIKE 'connbench\\_%'")
    rows += lab.do("SELECT nspname FROM pg_namespace WHERE nspname = 'connbench'", "bench")
    return [str(row[0]) for row in rows]


def test_the_documented_commands(lab: Lab, tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    process = connbench(command(out), log)
    deadline = time.monotonic() + LIMIT
    arguments: set[str] = set()
    while process.poll() is None:
        assert time.monotonic() < deadline, log.read_text()
        arguments |= {told(one) for one in psutil.Process(process.pid).children(recursive=True)}
        time.sleep(0.2)
    said = log.read_text()
    assert process.returncode == 0, said
    assert left_on(lab) == []

    summary = json.loads((out / "latest" / "summary.json").read_text())
    metrics = {cell["id"]: cell["metrics"] for cell in summary["cells"]}
    per_request, persistent = (metrics[f"prod-like-threads-{name}"] for name in ("per-request", "persistent"))
    assert per_request["connections"]["opened_per_request"]["value"] == 1.0
    assert per_request["connections"]["lingering"]["value"] == 0
    assert persistent["connections"]["peak"]["value"] == 4
    assert persistent["connections"]["lingering"]["value"] == 4
    for one in metrics.values():
        assert one["connections"]["as_predicted"], said
        assert one["connections"]["refused"] is None
        assert one["connections"]["peak_slots"] is None
        assert one["resources"]["database"] == {"cpu_seconds_per_request": None, "peak_memory_bytes": None}
    (server,) = json.loads((out / "latest" / "end.json").read_text())["databases"]
    assert server["settings"]["max_connections"] == "100"
    words = "what it refused is in no counter"
    assert words in server["unknown"]
    assert words in " ".join(said.split())
    assert words in (out / "latest" / "report.html").read_text()
    assert words in table_text(write_summary(RunFolder((out / "latest").resolve())), "md")

    for secret in (PASSWORD, quote(PASSWORD), json.dumps(PASSWORD)[1:-1]):
        assert not [line for line in arguments if secret in line]
        found = [path for path in out.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
        assert found == []
        assert secret not in said


def test_a_killed_run_is_cleaned_up_by_the_next_command(lab: Lab, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = connbench(command(tmp_path / "out"), log)
    deadline = time.monotonic() + LIMIT
    # A database, its role, and the table with their names.
    while len(left_on(lab)) < 3:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert left_on(lab)
    while left_on(lab):
        assert time.monotonic() < deadline, log.read_text()
        after = connbench(["plan"], log)
        after.wait(LIMIT)
    assert re.search(rf"\d databases dropped at {VARIABLE}", log.read_text())


def test_a_server_that_is_not_the_matrixs_is_refused_before_anything_starts(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.do("CREATE TABLE orders (id int)", "bench")
    log = tmp_path / "log"
    process = connbench(command(tmp_path / "out"), log)
    process.wait(LIMIT)
    assert process.returncode == 3, log.read_text()
    assert "is not empty (public.orders) and has no mark" in " ".join(log.read_text().split())
    assert not (tmp_path / "out").exists()
    lab.do("DROP TABLE orders", "bench")
    monkeypatch.delenv(VARIABLE)
    process = connbench(command(tmp_path / "out"), log)
    process.wait(LIMIT)
    assert process.returncode == 3, log.read_text()
    assert f"{VARIABLE} names no host" in log.read_text()
