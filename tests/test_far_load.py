"""A run whose load comes from two other hosts, one of which is killed in the middle, as docs/scaling.md has it."""

import contextlib
import ipaddress
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from runner.load.worker import TOKEN_VARIABLE
from runner.results.schema import AttemptRecord
from runner.results.store import RunFolder
from tests.namespaces import Host, network
from tests.processes import ROOT, left_in, own_tmpdir

pytestmark = pytest.mark.server

PAGE = (ROOT / "docs" / "scaling.md").read_text("utf-8")
HOSTS = ("east", "west")
#: Seconds that their clocks are ahead.
CLOCKS = (0, 3000)
LIMIT = 500
MATRIX = """\
name: far
app: shop
{load}
blocks: 3
databases:
  pg: {{engine: postgres}}
servers:
  sync: {{kind: gunicorn, worker_class: sync, workers: 2}}
connections:
  per-request: {{conn_max_age: 0}}
matrix:
  connection: [per-request]
"""
#: What the page leaves to its defaults; short here.
SHORT = "count: 3s, idle: 200ms, windows: 2, window: 500ms}"


def documented(start: str) -> str:
    """The line of the page that begins so."""
    (line,) = [line.strip() for line in PAGE.splitlines() if line.strip().startswith(start)]
    return line


class FarRun:
    """The run of the page, and the workers that join it with the commands that it prints."""

    def __init__(self, hosts: dict[str, Host], reach: str, folder: Path) -> None:
        self.hosts = hosts
        self.reach = reach
        self.folder = folder
        self.log = folder / "log"
        load = documented("load: {profile: mixed").replace("10.0.0.1", reach).replace("}", f", {SHORT}")
        matrix = folder / "far.yaml"
        matrix.write_text(MATRIX.format(load=load))
        argv = documented("connbench run -m far.yaml").replace("far.yaml", str(matrix)).split()[1:]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "runner", *argv, "--seed", "7", "--out", str(folder / "out")],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.all_workers: list[subprocess.Popen[bytes]] = []
        self.token = ""

    def said(self) -> str:
        return self.log.read_text("utf-8")

    def wait_until(self, text: str, times: int = 1) -> None:
        """Until so many of the lines that the run says begin so."""
        deadline = time.monotonic() + LIMIT
        while sum(line.startswith(text) for line in self.said().splitlines()) < times:
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def join(self, name: str) -> None:
        """Runs the command as it was printed, on its host; there is one more of it each time that the host was lost."""
        (setting, command) = re.findall(
            rf"on load host {name}, in connbench's folder: (\S+) (.* --name {name})$", self.said(), re.MULTILINE
        )[-1]
        assert documented(f"on load host {name}").endswith(f"--name {name}")
        variable, _, self.token = setting.partition("=")
        assert variable == TOKEN_VARIABLE
        own = self.folder / name
        own.mkdir(exist_ok=True)
        own.chmod(0o1777)
        env = {**os.environ, variable: self.token, "TMPDIR": str(own)}
        with (own / "log").open("ab") as log:
            argv = self.hosts[name].command(*command.split())
            self.workers[name] = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=log, stderr=log)
        self.all_workers.append(self.workers[name])

    def close(self) -> None:
        for process in (self.process, *self.all_workers):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
            process.wait()


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[FarRun]:
    with network(CLOCKS) as net, own_tmpdir(monkeypatch) as folder:
        made = FarRun(dict(zip(HOSTS, net.hosts, strict=True)), net.reach, folder)
        try:
            yield made
        finally:
            made.close()


def test_two_hosts_of_which_one_is_killed_in_the_middle(far: FarRun) -> None:
    far.wait_until("on load host ", times=2)
    for name in HOSTS:
        far.join(name)
    # A count is as long as three seconds at the least.
    far.wait_until("pg-sync-per-request: count")
    nothing_else_is_open(far)
    far.wait_until("pg-sync-per-request: count", times=2)
    time.sleep(0.5)
    far.workers["west"].send_signal(signal.SIGKILL)
    far.workers["west"].wait()
    far.wait_until("load host west was lost")
    far.join("west")
    assert far.process.wait(LIMIT) == 1, far.said()
    for name, worker in far.workers.items():
        assert worker.wait(60) == 0, (far.folder / name / "log").read_text()

    folder = RunFolder((far.folder / "out" / "latest").resolve())
    first, lost, last = sorted((record for _, record in folder.attempts()), key=lambda record: record.block)
    assert (lost.verdict.status, " on west was lost: " in lost.verdict.reason) == ("invalid", True), lost.verdict
    assert lost.throughput_rps is None
    for record in (first, last):
        nothing_was_lost_or_doubled(record)
        for one, ahead in zip(record.load_hosts, CLOCKS, strict=True):
            assert abs(one.clock_offset_ms - 1000 * ahead) <= one.clock_error_ms
            assert one.address == far.hosts[one.host].address
    assert folder.run().matrix["load"]["hosts"] == list(HOSTS)
    page = (folder.path / "report.html").read_text("utf-8")
    assert all(text in page for text in ("Load hosts", *(f'<th scope="row">{name}</th>' for name in HOSTS)))
    for path in (far.folder / "out").rglob("*"):
        assert not path.is_file() or far.token.encode() not in path.read_bytes(), path
    deadline = time.monotonic() + 60
    while left := left_in(far.folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def nothing_was_lost_or_doubled(record: AttemptRecord) -> None:
    """The books of the app's server and of the database, and the rows of what was ordered."""
    assert record.verdict.status == "ok", record.verdict
    agreement, connections = record.agreement, record.connections
    assert agreement is not None
    assert connections is not None
    assert agreement.locust == agreement.server_log == record.requests > 0
    assert agreement.unanswered == 0
    assert agreement.audits
    assert all(due == found for due, found in agreement.audits.values())
    assert (connections.opened_per_request, connections.refused) == (1.0, 0)
    assert [(one.host, one.workers) for one in record.load_hosts] == [(name, 1) for name in HOSTS]
    assert all(one.requests > 0 for one in record.load_hosts)
    assert sum(one.requests for one in record.load_hosts) == record.requests


def nothing_else_is_open(far: FarRun) -> None:
    """At the address for the workers the app listens, and the run for them; and nobody's arguments tell the token."""
    open_to_others = {}
    runner = psutil.Process(far.process.pid)
    for process in (runner, *runner.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            argv = " ".join(process.cmdline())
            assert far.token not in argv
            for one in process.net_connections("inet"):
                if one.status == psutil.CONN_LISTEN and not ipaddress.ip_address(one.laddr.ip).is_loopback:
                    open_to_others[argv] = one.laddr.ip
    assert set(open_to_others.values()) == {far.reach}
    assert all("gunicorn" in argv or "-m runner run" in argv for argv in open_to_others), open_to_others
