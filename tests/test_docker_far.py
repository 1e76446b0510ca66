"""An engine of another machine: nothing is reached by localhost, on its bridge, or through a file that both have.

The runner is in a network namespace of its own, from which one address leads to the engine's machine and nowhere else.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import pytest

from runner.results.store import RunFolder
from tests.engines import FULL, running_engine
from tests.processes import ROOT

LIMIT = 900
ENGINE, RUNNER = "10.217.0.1", "10.217.0.2"
MATRIX = """\
name: far
load: {profile: read, model: closed, users: 4, count: 2s, windows: 1, window: 300ms}
blocks: 1
databases: {db: {engine: postgres}}
servers: {sync: {kind: gunicorn, worker_class: sync, workers: 2}}
connections: {persistent: {conn_max_age: 60}}
matrix: {database: [db], server: [sync], connection: [persistent]}
"""

pytestmark = [
    pytest.mark.server,
    pytest.mark.docker,
    pytest.mark.timeout(2 * LIMIT),
    pytest.mark.skipif(FULL not in os.environ, reason=f"minutes of images: make test-docker ({FULL}=1) runs it"),
]


def ip(*arguments: str) -> None:
    """It has to succeed."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def far() -> Iterator[str]:
    """The name of the namespace that the runner is in."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network namespace takes root and iproute2: an engine far away is NOT tested")
    name = f"cbfar{os.getpid()}"
    near, other = f"cbn{os.getpid()}", f"cbf{os.getpid()}"
    ip("netns", "add", name)
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", other, "netns", name)
        ip("addr", "add", f"{ENGINE}/30", "dev", near)
        ip("link", "set", near, "up")
        ip("-n", name, "addr", "add", f"{RUNNER}/30", "dev", other)
        ip("-n", name, "link", "set", other, "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        # The other end goes with it.
        ip("netns", "delete", name)


@pytest.fixture
def door(far: str) -> Iterator[str]:
    """The engine's API on TCP at the engine's machine, as DOCKER_HOST."""
    with running_engine(["python", "postgres"]):
        local = urlparse(os.environ["DOCKER_HOST"]).path
        with socket.create_server((ENGINE, 0)) as server:
            threading.Thread(target=_admit, args=(server, local), daemon=True).start()
            yield f"tcp://{ENGINE}:{server.getsockname()[1]}"
            server.shutdown(socket.SHUT_RDWR)


def _admit(server: socket.socket, local: str) -> None:
    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=_lead_on, args=(server.accept()[0], local), daemon=True).start()


def _lead_on(client: socket.socket, local: str) -> None:
    with client, socket.socket(socket.AF_UNIX) as engine, contextlib.suppress(OSError):
        engine.connect(local)
        back = threading.Thread(target=_pass_on, args=(engine, client), daemon=True)
        back.start()
        _pass_on(client, engine)
        back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_a_run_on_an_engine_that_is_far_away(far: str, door: str, tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text(MATRIX)
    command = ["ip", "netns", "exec", far, sys.executable, "-m", "runner", "run", "--provider", "docker"]
    command += ["-m", str(tmp_path / "matrix.yaml"), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "DOCKER_HOST": door},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [(_, record)] = RunFolder((tmp_path / "out" / "latest").resolve()).attempts()
    assert (record.verdict.status, record.verdict.reason) == ("ok", "")
    assert record.connections is not None
    assert (record.connections.peak, record.connections.lingering) == (2, 2)
