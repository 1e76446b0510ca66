"""One run over four hosts, of which one is killed in the middle: same cells, same counts, nothing lost or doubled.

The hosts are workers with a name, a state folder and a temporary folder each; what they share is this machine.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from runner.analysis.summary import summarise
from runner.results.store import RunFolder
from tests.processes import ROOT, left_in, own_tmpdir

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]

TINY = ROOT / "tests" / "matrices" / "tiny.yaml"
BLOCKS, HOSTS = 6, 4
# Four runs at a time on two cores, and what else this machine does.
LIMIT = 400
BIN = Path(sys.executable).parent
PAGE = (ROOT / "docs" / "scaling.md").read_text("utf-8")


class Cluster:
    """A Dask scheduler and its workers, as a user starts them."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []
        self._start(*self.documented("dask scheduler"), "--no-dashboard", "--no-show")

    def worker(self, name: str) -> "tuple[subprocess.Popen[bytes], Path]":
        """A host of its own, as far as connbench can see."""
        own = self.folder / name
        own.mkdir(mode=0o1777)
        own.chmod(0o1777)
        env = {"CONNBENCH_HOST": name, "CONNBENCH_STATE": str(own / "state"), "TMPDIR": str(own)}
        more = ["--name", name, "--no-nanny", "--no-dashboard", "--local-directory", str(own)]
        return self._start(*self.documented("dask worker"), *more, env=env), own

    def documented(self, command: str) -> list[str]:
        """The arguments of a command as docs/scaling.md has it, for this scheduler."""
        (line,) = [line for line in PAGE.splitlines() if line.startswith(f"    {command} ") and "tcp://" in line]
        own = line.partition("#")[0].replace("tcp://first:8786", self.address)
        return own.split()[1:]

    def _start(self, *arguments: str, env: dict[str, str] | None = None) -> "subprocess.Popen[bytes]":
        with (self.folder / f"dask-{len(self.started)}.log").open("wb") as log:
            process = subprocess.Popen(
                [str(BIN / "dask"), *arguments], env={**os.environ, **(env or {})}, stdout=log, stderr=log, cwd=ROOT
            )
        self.started.append(process)
        return process

    def close(self) -> None:
        for process in reversed(self.started):
            process.terminate()
        for process in self.started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with own_tmpdir(monkeypatch) as folder:
        cluster = Cluster(folder)
        try:
            yield cluster
        finally:
            cluster.close()


def measuring(worker: "subprocess.Popen[bytes]") -> bool:
    """Whether the worker has a block's servers running."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(worker.pid).children(recursive=True)
        commands = [one.cmdline() for one in family]
        return any("measure" in command for command in commands) and any(
            "gunicorn" in " ".join(command) for command in commands
        )
    return False


def test_four_hosts_of_which_one_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    workers = [cluster.worker(f"host{number}") for number in range(HOSTS)]
    log = tmp_path / "log"
    more = ["-m", str(TINY), "--seed", "7", "--blocks", str(BLOCKS), "--out", str(tmp_path / "out")]
    with log.open("wb") as output:
        run = subprocess.Popen(
            [sys.executable, "-m", "runner", *cluster.documented("connbench run"), *more],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    victim = None
    deadline = time.monotonic() + LIMIT
    while run.poll() is None:
        assert time.monotonic() < deadline, log.read_text()
        if victim is None and (found := [worker for worker in workers if measuring(worker[0])]):
            victim = found[0]
            victim[0].send_signal(signal.SIGKILL)
        time.sleep(0.1)
    said = log.read_text()
    assert run.returncode == 0, said
    assert victim is not None, said

    folder = RunFolder((tmp_path / "out" / "latest").resolve())
    attempts = [record for _, record in folder.attempts()]
    planned = [(row["cell"], row["block"]) for row in folder.planned()]
    assert sorted((one.cell, one.block) for one in attempts) == sorted(planned)
    assert len(planned) == 2 * BLOCKS
    assert {one.attempt for one in attempts} == {1}
    assert not [one for one in attempts if one.verdict.status != "ok"], said
    hosts = {one.block: one.measured_on for one in attempts}
    assert {(one.block, one.measured_on) for one in attempts} == set(hosts.items()), "no block was split"
    assert 2 <= len(set(hosts.values())) <= HOSTS
    assert len(folder.run().hosts) <= HOSTS
    events = [json.loads(line) for line in (folder.path / "events.jsonl").read_text().splitlines()]
    assert sorted(one["block"] for one in events if one["event"] == "block") == list(range(1, BLOCKS + 1))

    summary = summarise(folder)
    for cell in summary.cells:
        assert cell.metrics is not None
        assert cell.metrics.connections.as_predicted, cell.metrics.connections.prediction_note
        opened = cell.metrics.connections.opened_per_request
        if cell.id.endswith("per-request"):
            assert opened is not None
            assert (opened.low, opened.high, opened.n) == (1.0, 1.0, BLOCKS)
    deadline = time.monotonic() + 60
    while left := left_in(victim[1]):
        assert time.monotonic() < deadline, f"left of the killed host: {left}"
        time.sleep(0.5)


def test_somebodys_server_is_not_for_many_hosts_at_once(tmp_path: Path) -> None:
    arguments = ["run", "-m", "matrices/hosted.yaml", "--out", str(tmp_path), "--scheduler", "tcp://127.0.0.1:9"]
    done = subprocess.run(
        [sys.executable, "-m", "runner", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "prod-like is one server (url_from), which one host at a time measures" in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())


def test_a_scheduler_that_is_not_there(tmp_path: Path) -> None:
    arguments = ["run", "-m", str(TINY), "--out", str(tmp_path), "--scheduler", "tcp://127.0.0.1:9"]
    done = subprocess.run(
        [sys.executable, "-m", "runner", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "no Dask scheduler answers there" in done.stderr
    assert not list(tmp_path.iterdir())
