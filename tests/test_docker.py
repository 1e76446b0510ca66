"""The same benchmark in Docker: whole runs, with images that stand in for the official ones (make test-docker)."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import psutil
import pytest

from runner import waiting
from runner.provision.engine import LABEL
from tests.engines import FULL, KITS, image, running_engine
from tests.processes import ROOT, connbench

if TYPE_CHECKING:
    import subprocess

MATRIX = ROOT / "tests" / "matrices" / "docker.yaml"
#: The app's image is built once, and mysqlclient and uWSGI compiled in it.
RUN_LIMIT = 1200

pytestmark = [
    pytest.mark.server,
    pytest.mark.docker,
    pytest.mark.timeout(2 * RUN_LIMIT),
    pytest.mark.skipif(FULL not in os.environ, reason=f"minutes of images: make test-docker ({FULL}=1) runs it"),
]


@pytest.fixture(scope="module", autouse=True)
def folder() -> Iterator[Path]:
    with running_engine(KITS) as found:
        yield found


def run(out: Path, provider: str, *more: str) -> dict[str, Any]:
    """A whole run of the matrix; its summary."""
    log = out / "run.log"
    arguments = ["run", "-m", str(MATRIX), "--provider", provider, "--seed", "1", "--out", str(out), *more]
    process = connbench(arguments, log)
    process.wait(RUN_LIMIT)
    assert process.returncode == 0, log.read_text()
    summary, record, end = (
        json.loads((out / "latest" / f"{name}.json").read_text()) for name in ("summary", "run", "end")
    )
    return {**summary, "run": record, "products": {one["name"]: one["product"] for one in end["databases"]}}


@pytest.fixture(scope="module")
def contained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(tmp_path_factory.mktemp("docker"), "docker")


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(tmp_path_factory.mktemp("native"), "native")


def counts(summary: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Of each cell that ran."""
    cells = [cell for cell in summary["cells"] if cell["status"] != "skipped"]
    assert {cell["status"] for cell in cells} == {"ok"}, [cell["reason"] for cell in cells]
    figures = {cell["id"]: cell["metrics"]["connections"] for cell in cells}
    assert all(one["as_predicted"] for one in figures.values()), figures
    names = ("peak", "opened_per_request", "refused", "lingering")
    return {cell: {name: one[name]["value"] for name in names} for cell, one in figures.items()}


def held(found: dict[str, dict[str, float]]) -> dict[str, list[float]]:
    """What does not depend on how many requests there were."""
    return {
        cell: [one["peak"], one["refused"], one["lingering"], *([1.0] if one["opened_per_request"] == 1.0 else [])]
        for cell, one in found.items()
    }


def test_both_count_the_same_connections(contained: dict[str, Any], native: dict[str, Any]) -> None:
    found = counts(contained)
    assert len(found) == 8
    assert held(found) == held(counts(native))
    for cell, one in found.items():
        assert one["opened_per_request"] == 1.0 or "per-request-none" not in cell


def test_the_run_names_its_provider_and_its_images(contained: dict[str, Any]) -> None:
    record = contained["run"]
    assert record["provider"] == "docker"
    versions = record["versions"]
    assert {"docker", *(f"image/{kit}" for kit in KITS)} <= set(versions)
    assert versions["image/postgres"].startswith(f"{image('postgres')} sha256:")


def test_each_database_is_what_its_engine_says(contained: dict[str, Any]) -> None:
    assert {name: product.split(".")[0] for name, product in contained["products"].items()} == {
        "pg": "PostgreSQL 15",
        "maria": "MariaDB 10",
        "my": "MySQL 9",
    }


def test_a_killed_run_leaves_nothing(tmp_path: Path) -> None:
    """Runner and guard both: the next command clears away what they had."""
    log = tmp_path / "run.log"
    arguments = ["run", "-m", str(MATRIX), "--provider", "docker", "--only", "pg-*none", "--out", str(tmp_path)]
    process = connbench(arguments, log)
    until_counting(process, log)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in family:
        one.send_signal(signal.SIGKILL)
    process.wait()
    assert labelled()
    connbench(["plan", "-m", str(MATRIX)], tmp_path / "plan.log").wait(120)
    assert "containers, networks and volumes removed" in (tmp_path / "plan.log").read_text()
    assert labelled() == []


def until_counting(process: "subprocess.Popen[bytes]", log: Path) -> None:
    def counting() -> bool | None:
        assert process.poll() is None, log.read_text()
        return "count" in log.read_text() or None

    assert waiting.wait_for(counting, RUN_LIMIT, every=0.5), log.read_text()


def labelled() -> list[Any]:
    time.sleep(1)
    client = docker.from_env()
    try:
        own: dict[str, Any] = {"label": LABEL}
        containers = client.containers.list(all=True, filters=own, ignore_removed=True)
        return [*containers, *client.networks.list(filters=own), *client.volumes.list(filters=own)]
    finally:
        client.close()
