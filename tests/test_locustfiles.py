"""Each traffic profile runs under plain Locust, as its first lines promise."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.stacks.app import load_app
from runner.stacks.servers.gunicorn import GunicornSpec
from tests.processes import ROOT
from tests.shops import seeded, serving

pytestmark = pytest.mark.server

FOLDER = ROOT / "locustfiles"

#: What each profile is made of: endpoints as the app's description names them, or with `[id]` for a number.
PROFILES = {
    "mixed": {"GET /products/", "GET /products/[id]/", "POST /orders/", "GET /reports/sales/"},
    "read": {"GET /products/", "GET /products/[id]/"},
    "write": {"POST /orders/"},
    "hold": {"GET /hold/"},
    "stream": {"GET /products/export/"},
    "cache": {"GET /rates/EUR/", "POST /rates/EUR/"},
}
#: Stale answers are what it is there to count, and two worker processes give some.
FAILING = {"cache"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[int, Any, str]]]:
    """Exit code, statistics and log of each profile; they run side by side."""
    logs = tmp_path_factory.mktemp("profiles")
    spec = GunicornSpec(worker_class="gthread", workers=2, threads=8)
    with serving(spec, seeded(tmp_path_factory.getbasetemp()), logs) as shop:
        started = {name: start(name, f"http://{shop.service.address}", logs) for name in PROFILES}
        yield {name: finished(process, logs / f"{name}.log") for name, process in started.items()}


def start(profile: str, host: str, logs: Path) -> "subprocess.Popen[str]":
    file = FOLDER / f"{profile}.py"
    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        str(file),
        "--headless",
        "-u",
        "2",
        "-r",
        "2",
        # Several at once on a busy machine: long enough for each to send what it is made of.
        "-t",
        "6s",
        # Otherwise Locust cuts off what is under way at the end, which is a failure.
        "--stop-timeout",
        "20",
        "-H",
        host,
        "--json",
    ]
    with (logs / f"{profile}.log").open("w") as log:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=logs)


def finished(process: "subprocess.Popen[str]", log: Path) -> tuple[int, Any, str]:
    output, _ = process.communicate(timeout=400)
    return process.returncode, json.loads(output), log.read_text()


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_it_runs_under_plain_locust_without_a_failure(runs: dict[str, tuple[int, Any, str]], profile: str) -> None:
    code, statistics, log = runs[profile]
    assert profile in FAILING or code == 0, log
    assert profile in FAILING or sum(row["num_failures"] for row in statistics) == 0, statistics
    assert sum(row["num_requests"] for row in statistics) >= 3
    seen = {f"{row['method']} {row['name']}" for row in statistics}
    # A profile may be too short for its rarest request.
    assert seen <= PROFILES[profile]
    assert PROFILES[profile] - seen <= {"GET /reports/sales/"}
    assert "Traceback" not in log


def test_every_profile_is_known_here() -> None:
    with_users = {
        path.stem
        for path in FOLDER.glob("*.py")
        if any(isinstance(node, ast.ClassDef) for node in ast.parse(path.read_text()).body)
    }
    assert with_users == set(PROFILES)


def test_audits_and_quiet_endpoints_are_named_as_the_profiles_name_them() -> None:
    """Otherwise nothing would be counted for them, in silence."""
    sent = set().union(*PROFILES.values())
    shop = load_app("shop").description
    assert {audit.endpoint for audit in shop.audits} <= sent
    # A read of the cache may ask the database or not; it is counted as one that does not.
    assert shop.endpoints_without_database & sent == {"GET /rates/EUR/"}
