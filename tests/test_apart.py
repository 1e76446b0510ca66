"""App and database on hosts of their own, as docs/scaling.md has it: two engines with an address each, 2 ms apart."""

import contextlib
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from runner.ssh import VARIABLE as SSH_VARIABLE
from tests.engines import FULL, running_engine
from tests.far_engines import FarEngine, far_engine
from tests.namespaces import network
from tests.processes import ROOT, connbench
from tests.sshd import running_sshd
from tests.wires import wire

MATRIX = ROOT / "tests" / "matrices" / "apart.yaml"
PAGE = (ROOT / "docs" / "scaling.md").read_text("utf-8")
#: Where the page has app and database.
APP, DATABASE = "me@10.0.0.2", "10.0.0.3"
RUN_LIMIT = 1200
#: Milliseconds for a packet to the database's host and its answer.
ROUND_TRIP = 2.0
KITS = ("python", "postgres", "pgbouncer")

pytestmark = [
    pytest.mark.server,
    pytest.mark.docker,
    pytest.mark.timeout(2 * RUN_LIMIT),
    pytest.mark.skipif(FULL not in os.environ, reason=f"minutes of images: make test-docker ({FULL}=1) runs it"),
]


def documented(start: str) -> str:
    """The line of the page that begins so."""
    (line,) = [line.strip() for line in PAGE.splitlines() if line.strip().startswith(start)]
    return line


def run(argv: list[str], out: Path) -> dict[str, Any]:
    """What `connbench` with these arguments came to."""
    log = out / "run.log"
    process = connbench([*argv, "--seed", "1", "--out", str(out)], log)
    process.wait(RUN_LIMIT)
    assert process.returncode == 0, log.read_text()
    found = {name: json.loads((out / "latest" / f"{name}.json").read_text()) for name in ("summary", "run", "end")}
    return {**found, "said": log.read_text()}


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    """One that has every image."""
    with running_engine(KITS):
        yield os.environ["DOCKER_HOST"]


@pytest.fixture(scope="module")
def together(engine: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """App, database and pooler on one host."""
    return run(["run", "-m", str(MATRIX), "--provider", "docker"], tmp_path_factory.mktemp("together"))


@pytest.fixture(scope="module")
def hosts(engine: str, together: dict[str, Any]) -> Iterator[tuple[FarEngine, FarEngine]]:
    """The app's and the database's, with the images that each needs."""
    versions = together["run"]["versions"]
    images = {name: versions[f"image/{name}"].split()[0] for name in (*KITS, "app_psycopg3")}
    with contextlib.ExitStack() as undo:
        net = undo.enter_context(network([0, 0]))
        undo.enter_context(wire(net.hosts[0], net.hosts[1], ROUND_TRIP / 1000))
        app, database = (far_engine(host, name) for host, name in zip(net.hosts, ("app", "database"), strict=True))
        for one, names in ((app, ("python", "pgbouncer", "app_psycopg3")), (database, ("python", "postgres"))):
            undo.enter_context(one.running())
            one.take(engine, [images[name] for name in names])
        yield app, database
    assert [*app.mounts(), *database.mounts()] == []


@pytest.fixture
def way_in(hosts: tuple[FarEngine, FarEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which the page's commands work: `ssh` gets to the app's host, certificates to the database's."""
    app, database = hosts
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "config.json").write_text("{}")
    with running_sshd(app.host, tmp_path, f"DOCKER_HOST={app.socket}") as ssh:
        monkeypatch.setenv(SSH_VARIABLE, shlex.join(ssh))
        for name, source in (("ca.pem", "cert.pem"), ("cert.pem", "cert.pem"), ("key.pem", "key.pem")):
            shutil.copy(database.folder / source, tmp_path / name)
        yield tmp_path


def at_the_tests_own(line: str, app: FarEngine, database: FarEngine) -> str:
    return line.replace(APP, f"root@{app.host.address}").replace(DATABASE, database.host.address)


def test_the_same_connections_whether_apart_or_not(
    together: dict[str, Any], hosts: tuple[FarEngine, FarEngine], way_in: Path
) -> None:
    context = at_the_tests_own(documented("docker context create"), *hosts)
    subprocess.run(context.split(), cwd=way_in, check=True, capture_output=True)
    matrix = way_in / "apart.yaml"
    matrix.write_text(MATRIX.read_text() + at_the_tests_own(documented("hosts: {app:"), *hosts) + "\n")
    argv = documented("connbench run -m apart.yaml").replace("apart.yaml", str(matrix)).split()[1:]
    apart = run(argv, way_in)

    assert counts(apart) == counts(together)
    assert len(counts(apart)) == 3
    nothing_was_lost(way_in)
    [pg] = apart["end"]["databases"]
    assert pg["round_trip_ms"] >= ROUND_TRIP
    assert together["end"]["databases"][0]["round_trip_ms"] is None
    assert f"on a host {pg['round_trip_ms']:.2f} ms from the app's" in apart["said"]
    for cell, milliseconds in sql_milliseconds(way_in).items():
        assert milliseconds >= ROUND_TRIP, cell
    versions = apart["run"]["versions"]
    app, database = hosts
    assert versions["host/app"].startswith(f"ssh://root@{app.host.address}, ")
    assert versions["host/database"].startswith("database, ")
    assert [*app.left(), *database.left()] == []


def counts(done: dict[str, Any]) -> dict[str, list[float]]:
    """Of each cell what does not depend on how many requests there were."""
    cells = [cell for cell in done["summary"]["cells"] if cell["status"] != "skipped"]
    assert {cell["status"] for cell in cells} == {"ok"}, [cell["reason"] for cell in cells]
    found = {cell["id"]: cell["metrics"]["connections"] for cell in cells}
    assert all(one["as_predicted"] for one in found.values()), found
    return {
        cell: [
            *(one[name]["value"] for name in ("peak", "refused", "lingering")),
            float(one["opened_per_request"]["value"] == 1.0),
        ]
        for cell, one in found.items()
    }


def nothing_was_lost(out: Path) -> None:
    """The books of the load, of the app's server and of the database, and the rows of what was ordered."""
    records = [json.loads(path.read_text()) for path in out.glob("latest/cells/*/*/attempt.json")]
    assert len(records) == 3
    for record in records:
        agreement = record["agreement"]
        assert agreement["locust"] == agreement["server_log"] == record["requests"] > 0
        assert agreement["unanswered"] == 0
        assert all(due == found for due, found in agreement["audits"].values())


def sql_milliseconds(out: Path) -> dict[str, float]:
    """What statements take in the middle one of a cell's requests, which asks the database more than once."""
    found = {path.parts[-3]: pd.read_parquet(path) for path in out.glob("latest/cells/*/*/requests.parquet")}
    assert len(found) == 3
    return {cell: float(requests["sql_ms"].median()) for cell, requests in found.items()}
