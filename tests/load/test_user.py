"""The benchmark user under plain Locust: what Locust shows is what the server was asked."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.provision.native import NativeProvider
from tests.load.serving import ByteServer, answering, plain, serving

pytestmark = pytest.mark.server

PROFILE = """
from locust import task
from runner.load.user import BenchmarkUser

class Visitor(BenchmarkUser):
    @task(3)
    def look(self): self.client.get("/thing/?id=1")
    @task(1)
    def order(self): self.client.post("/orders/", json={"a": 1}, name="/orders/[new]/")
"""


def locust(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    profile = folder / "profile.py"
    profile.write_text(PROFILE)
    command = [sys.executable, "-m", "locust", "-f", str(profile), "--headless", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def statistics(process: "subprocess.Popen[str]") -> dict[str, dict[str, Any]]:
    """By method and name."""
    printed, log = process.communicate(timeout=300)
    assert process.returncode == 0, log
    rows: list[dict[str, Any]] = json.loads(printed)
    return {f"{row['method']} {row['name']}": row for row in rows}


def asked(server: ByteServer, method: str) -> int:
    return sum(request.startswith(method.encode()) for request in server.requests)


def test_statistics_are_complete(tmp_path: Path) -> None:
    with serving(answering(plain(b"hello"))) as server:
        shown = statistics(locust(tmp_path, "-u", "3", "-r", "3", "-t", "2s", "-s", "2", "-H", server.url, "--json"))
    assert {name: row["num_requests"] for name, row in shown.items()} == {
        "GET /thing/": asked(server, "GET"),
        "POST /orders/[new]/": asked(server, "POST"),
    }
    assert all(row["num_failures"] == 0 for row in shown.values())
    look = shown["GET /thing/"]
    assert look["total_content_length"] == 5 * look["num_requests"]
    assert (
        0 < look["min_response_time"] <= look["total_response_time"] / look["num_requests"] <= look["max_response_time"]
    )
    assert sum(look["response_times"].values()) == look["num_requests"]


def test_failures_are_shown(tmp_path: Path) -> None:
    with serving(answering(plain(b"", "503 Service Unavailable"))) as server:
        process = locust(tmp_path, "-u", "1", "-t", "1s", "-s", "2", "-H", server.url, "--json")
        printed, _ = process.communicate(timeout=300)
    assert process.returncode == 1, "as Locust ends when requests failed"
    assert all(row["num_failures"] == row["num_requests"] > 0 for row in json.loads(printed))


def test_workers_report_to_their_master(tmp_path: Path) -> None:
    provider = NativeProvider()
    port = str(provider.free_address().port)
    provider.close()
    with serving(answering(plain())) as server:
        common = ["-H", server.url]
        duty = ["-u", "4", "-r", "4", "-t", "3s", "-s", "2", "--expect-workers", "1", "--json"]
        master = locust(
            tmp_path, "--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port, *duty, *common
        )
        worker = locust(tmp_path, "--worker", "--master-host", "127.0.0.1", "--master-port", port, *common)
        shown = statistics(master)
        worker.communicate(timeout=120)
    reported = sum(row["num_requests"] for row in shown.values())
    assert reported == len(server.requests) > 100
