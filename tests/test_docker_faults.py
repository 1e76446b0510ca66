"""Faults that only containers have: each ends in words, and nothing that is labelled with the run stays."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import psutil
import pytest
from docker.models.volumes import VolumeCollection

from runner import waiting
from runner.plan import Plan
from runner.provision.commands import PYTHON
from runner.provision.docker import DockerProvider
from runner.provision.engine import LABEL
from runner.provision.roles import Roles
from runner.provision.service import Command
from runner.results.store import RunFolder
from runner.site import DockerSite
from tests.breakage import Laboratory, faulty_app
from tests.engines import FULL, running_engine, start_again
from tests.processes import connbench

if TYPE_CHECKING:
    import subprocess

# The app's image may have to be built first.
LIMIT = 900
AGE = {"conn_max_age": 0}

pytestmark = [
    pytest.mark.server,
    pytest.mark.docker,
    pytest.mark.timeout(2 * LIMIT),
    pytest.mark.skipif(FULL not in os.environ, reason=f"minutes of images: make test-docker ({FULL}=1) runs it"),
]

MATRIX = """\
name: faults
load: {profile: read, model: closed, users: 4, count: 2s, idle: 100ms, windows: 1, window: 300ms}
blocks: 1
databases: {db: {engine: postgres}}
servers: {sync: {kind: gunicorn, worker_class: sync, workers: 2}}
connections: {one: {conn_max_age: 0}, two: {conn_max_age: 60}}
matrix: {database: [db], server: [sync], connection: [one, two]}
"""


@pytest.fixture(scope="module", autouse=True)
def engine() -> Iterator[Path]:
    with running_engine(["python", "postgres"]) as folder:
        yield folder


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Laboratory]:
    yield Laboratory(tmp_path, monkeypatch, DockerSite())
    assert labelled() == []


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    path = tmp_path / "matrix.yaml"
    path.write_text(MATRIX)
    return path


def labelled() -> list[Any]:
    """What the engine has of any run."""
    own: dict[str, Any] = {"label": LABEL}
    with closing(docker.from_env()) as client:
        containers = client.containers.list(all=True, filters=own, ignore_removed=True)
        return [*containers, *client.networks.list(filters=own), *client.volumes.list(filters=own)]


def reasons(laboratory: Laboratory, plan: Plan) -> dict[str, str]:
    """The verdict of each cell's one attempt, by its connection."""
    records, _ = laboratory.run(plan)
    return {
        cell.removeprefix("db-sync-"): f"{record.verdict.status}: {record.verdict.reason}"
        for (cell, _), record in records.items()
    }


# --- memory ---


def test_an_app_that_takes_more_memory_than_it_may(laboratory: Laboratory, tmp_path: Path) -> None:
    """Its cell says so; the other one, with as much, goes on."""
    laboratory.apps["db-sync-greedy"] = faulty_app("takes 500 MB", tmp_path / "apps")
    plan = laboratory.plan({"greedy": AGE, "good": AGE})
    found = reasons(laboratory, replace_roles(plan, app={"memory": "300MB"}))
    assert found["greedy"].startswith("failed: the app server had too little memory; its log ends:\n")
    assert "was killed for want of memory (the limit is 300 MB)" in found["greedy"]
    assert found["good"] == "ok: "


def test_a_database_that_takes_more_memory_than_it_may(laboratory: Laboratory) -> None:
    """However it takes it, PostgreSQL throws everybody out when one of its processes is killed."""
    plan = laboratory.plan({"one": AGE})
    found = reasons(laboratory, replace_roles(plan, database={"memory": "16MB"}))
    assert found["one"].startswith("failed: ")
    assert "was killed for want of memory (the limit is 16 MB)" in found["one"]


def replace_roles(plan: Plan, **roles: Any) -> Plan:
    return replace(plan, roles=Roles.model_validate(roles))


# --- disks ---


@pytest.fixture
def small_volumes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The volumes of runs have so little room that a test can fill one."""
    create = VolumeCollection.create

    def create_small(self: VolumeCollection, name: str, **more: Any) -> Any:
        room = {"type": "tmpfs", "device": "tmpfs", "o": "size=400m"}
        return create(self, name, driver="local", driver_opts=room, **more)

    monkeypatch.setattr(VolumeCollection, "create", create_small)


FILL = """
import sys
with open(sys.argv[1], "wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(1_000_000))
    except OSError as error:
        print(error)
"""


@pytest.mark.usefixtures("small_volumes")
def test_a_database_whose_disk_is_full(laboratory: Laboratory) -> None:
    """Room for the server and its template, and then somebody fills the volume."""

    def fill() -> None:
        provider = laboratory.providers[-1]
        assert isinstance(provider, DockerProvider)
        argv = ["python3", "-c", FILL, str(provider.folder / "out" / "filler")]
        assert "No space left" in provider.run(Command(argv, kit=PYTHON), limit=60, what="filling the disk")

    laboratory.injector.at("db-sync-one", "idle", fill, delay=0.0)
    found = reasons(laboratory, laboratory.plan({"one": AGE, "two": AGE}))
    assert re.search("(?i)no space left|could not (write|extend|create)", found["two"])


# --- images ---


def test_an_image_that_is_not_to_be_had(tmp_path: Path, matrix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is started, with the name of the variable that names another."""
    monkeypatch.setenv("CONNBENCH_POSTGRES_IMAGE", "connbench-standin/nowhere:1")
    log = tmp_path / "run.log"
    process = connbench(["run", "-m", str(matrix), "--provider", "docker", "--out", str(tmp_path / "out")], log)
    assert process.wait(LIMIT) == 3
    assert "connbench-standin/nowhere:1 is not on this engine and cannot be pulled" in log.read_text()
    assert "CONNBENCH_POSTGRES_IMAGE" in log.read_text()
    assert not (tmp_path / "out").exists()
    assert labelled() == []


# --- runs that are cut off ---


def until_counting(process: "subprocess.Popen[bytes]", log: Path) -> None:
    def counting() -> bool | None:
        assert process.poll() is None, log.read_text()
        return "count" in log.read_text() or None

    assert waiting.wait_for(counting, LIMIT, every=0.2), log.read_text()


def start(matrix: Path, out: Path, log: Path) -> "subprocess.Popen[bytes]":
    return connbench(["run", "-m", str(matrix), "--provider", "docker", "--out", str(out)], log)


def test_a_run_that_is_killed_is_cleared_away_and_resumed(tmp_path: Path, matrix: Path) -> None:
    """Runner and guard both: the next command clears away what they had, and brings the run to its end."""
    out, log = tmp_path / "out", tmp_path / "run.log"
    process = start(matrix, out, log)
    until_counting(process, log)
    for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
        one.send_signal(signal.SIGKILL)
    process.wait()
    assert labelled()
    resumed = tmp_path / "resume.log"
    assert connbench(["resume", str(out / "latest")], resumed).wait(LIMIT) == 0, resumed.read_text()
    assert "containers, networks and volumes removed" in resumed.read_text()
    attempts = RunFolder((out / "latest").resolve()).attempts()
    assert {(record.cell, record.verdict.status) for _, record in attempts} == {
        ("db-sync-one", "ok"),
        ("db-sync-two", "ok"),
    }
    assert labelled() == []


def test_an_engine_that_dies(engine: Path, tmp_path: Path, matrix: Path) -> None:
    """It takes all services with it: the run ends in words, and the next command clears away what was left."""
    pid = engine / "docker.pid"
    if not pid.exists():
        pytest.skip("the engine is the machine's own and is not to be killed: an engine that dies is NOT tested")
    out, log = tmp_path / "out", tmp_path / "run.log"
    process = start(matrix, out, log)
    until_counting(process, log)
    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert process.wait(LIMIT) == 1, log.read_text()
    assert "Docker engine" in log.read_text()
    assert "Traceback" not in log.read_text()
    records = [record for _, record in RunFolder((out / "latest").resolve()).attempts()]
    assert {record.verdict.status for record in records} == {"failed"}
    assert all("Docker engine" in record.verdict.reason for record in records if not record.cut_off)
    start_again(engine)
    assert connbench(["plan", "-m", str(matrix)], tmp_path / "plan.log").wait(LIMIT) == 0
    assert labelled() == []
