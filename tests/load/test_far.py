"""Load from other hosts: workers in network namespaces of their own, against a small server that counts."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from runner import waiting
from runner.errors import EnvironmentUnfit, LoadHostLost, StackError, UsageError
from runner.load.channel import MOST, Channel, Lost, Refused, introduce
from runner.load.generator import LoadGenerator
from runner.load.hosts import LoadHosts
from runner.load.records import read_records
from runner.load.worker import TOKEN_VARIABLE, join, own_code
from runner.provision.native import NativeProvider
from runner.provision.service import Address
from runner.ssh import VARIABLE as SSH_VARIABLE
from tests.load.serving import ByteServer, answering, plain, serving
from tests.namespaces import Host, Network, network
from tests.processes import ROOT, left_in
from tests.sshd import PORT, running_sshd

pytestmark = pytest.mark.server

NAMES = ("near", "ahead")
#: The second host's clock is another; by far more than any two moments of a test are apart.
CLOCKS = (0, 5000)
PROFILE = """
from locust import task
from runner.load.user import BenchmarkUser

class Visitor(BenchmarkUser):
    @task
    def visit(self): self.client.get("/")
"""
OK = plain(b"ok", "200 OK", "Server-Timing: app;dur=5.000, worker;desc=77.1")


def answer_slowly(request: bytes, connection: socket.socket) -> bool:
    time.sleep(0.005)
    return answering(OK)(request, connection)


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with network(CLOCKS) as made:
        yield made


@dataclass
class Run:
    """The runner's side, and what joins it."""

    network: Network
    hosts: LoadHosts
    provider: NativeProvider
    server: ByteServer
    folder: Path
    said: list[str]
    workers: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def commands(self) -> dict[str, tuple[str, list[str]]]:
        """Token and arguments of each command that was printed, by the host's name."""
        found = {}
        for line in self.said:
            if line.startswith("on load host "):
                setting, *argv = line.partition("folder: ")[2].split()
                found[argv[-1]] = (setting.partition("=")[2], argv)
        return found

    def join(self, name: str) -> "subprocess.Popen[bytes]":
        """Runs the printed command on its host, from connbench's folder."""
        token, argv = self.commands[name]
        own = self.folder / name
        own.mkdir(exist_ok=True)
        own.chmod(0o1777)
        env = {**os.environ, TOKEN_VARIABLE: token, "TMPDIR": str(own)}
        with (own / "said").open("ab") as log:
            process = subprocess.Popen(self._host(name).command(*argv), cwd=ROOT, env=env, stdout=log, stderr=log)
        self.workers[name] = process
        return process

    def generator(self, workers: int = 2) -> LoadGenerator:
        return LoadGenerator(
            self.provider,
            "cell",
            self.folder / "requests.raw",
            self.folder / "load.log",
            workers=workers,
            hosts=self.hosts,
        )

    def configured(self, workers: int = 2, model: str = "closed", profile: str = PROFILE) -> LoadGenerator:
        path = self.folder / "profile.py"
        path.write_text(profile)
        made = self.generator(workers)
        host, _, port = self.server.url.removeprefix("http://").partition(":")
        try:
            made.configure(path, Address(host, int(port)), keep_alive=True, model=model)
        except StackError:
            made.close()
            raise
        return made

    def _host(self, name: str) -> Host:
        return self.network.hosts[NAMES.index(name)]


@contextlib.contextmanager
def opened(net: Network, folder: Path) -> Iterator[Run]:
    """A run that nobody has joined yet."""
    said: list[str] = []
    with contextlib.closing(NativeProvider()) as provider, serving(answer_slowly, net.reach) as server:
        with contextlib.closing(LoadHosts(NAMES, net.reach, provider, folder, said.append)) as hosts:
            hosts.invite()
            made = Run(net, hosts, provider, server, folder, said)
            yield made
        for process in made.workers.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()


@pytest.fixture
def alone(net: Network, tmp_path: Path) -> Iterator[Run]:
    with opened(net, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def joined(net: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Joined once for all tests: importing connbench takes longer than what they do."""
    with opened(net, tmp_path_factory.mktemp("far")) as made:
        for name in NAMES:
            made.join(name)
        made.hosts.wait()
        yield made


@pytest.fixture
def run(joined: Run) -> Run:
    joined.server.requests.clear()
    joined.server.connections = 0
    return joined


def drivers_of(worker: "subprocess.Popen[bytes]") -> Sequence[psutil.Process]:
    found = []
    for one in psutil.Process(worker.pid).children(recursive=True):
        # One that has just ended is none.
        with contextlib.suppress(psutil.NoSuchProcess):
            if "runner.load.driver" in one.cmdline():
                found.append(one)
    return found


def wait_until_nothing_is_left(folder: Path) -> None:
    assert waiting.wait_for(lambda: True if not left_in(folder) else None, 30), left_in(folder)


def test_two_hosts_drive_together_and_nothing_is_lost(run: Run) -> None:
    """What the server was asked is what came back, on this machine's clock, though one host's is far ahead."""
    load = run.configured(workers=4)
    count = load.count(users=8, seconds=0.5, workers=1, seed="s")
    windows = [load.window(number, users=8, lead_in=0.1, seconds=0.3, seed="s") for number in range(2)]
    load.close()
    frame, _ = read_records(load.records, clock_zero=count.begun)
    parts = [read_records([record], clock_zero=count.begun)[0] for record in load.records]
    assert len(frame) == len(run.server.requests) == count.requests + sum(window.requests for window in windows)
    assert all(len(part) > 0 for part in parts)
    assert (frame["error"] == "").all()
    assert run.server.connections == 3 * 8, "eight users in each of three stretches"
    near, ahead = sorted(load.load_hosts, key=lambda host: host.clock_offset_ms)
    assert (near.host, ahead.host) == NAMES
    assert (near.workers, ahead.workers) == (2, 2)
    assert near.requests + ahead.requests == len(frame)
    assert (near.requests, ahead.requests) == (len(parts[0]) + len(parts[2]), len(parts[1]) + len(parts[3]))
    assert [near.address, ahead.address] == [host.address for host in run.network.hosts]
    # No moment may be further off than the clocks are known, whichever host it comes from.
    slack = max(near.clock_error_ms, ahead.clock_error_ms) / 1000
    for number, window in enumerate([count, *windows], start=-1):
        for part in parts:
            within = part[part["window"] == number]
            assert within["offset"].min() >= window.begun - count.begun - slack
            ended = within["offset"] + within["service_ms"] / 1000
            assert ended.max() <= window.stopped - count.begun + slack
    assert load.watched == {}, "nothing of it uses this machine"


def test_the_offset_of_a_clock_is_measured_within_a_millisecond(run: Run) -> None:
    """The error that is stated is never too small; a machine that is busy elsewhere may need another try."""
    found = {}
    for _ in range(10):
        load = run.configured()
        load.window(0, users=2, lead_in=0.0, seconds=0.1, seed="s")
        load.close()
        found = {host.host: host for host in load.load_hosts}
        assert len(found) == 2
        for name, ahead in zip(NAMES, CLOCKS, strict=True):
            host = found[name]
            assert abs(host.clock_offset_ms - 1000 * ahead) <= host.clock_error_ms
            assert host.clock_error_ms >= host.round_trip_ms / 2 > 0
        if all(host.clock_error_ms <= 1.0 for host in found.values()):
            return
    pytest.fail(f"never within a millisecond: {found}")


def test_several_hosts_together_are_one_schedule(run: Run) -> None:
    """Even gaps over both, to within what the clocks are known: they begin at one moment."""
    load = run.configured(model="open")
    window = load.window(0, users=40, lead_in=0.0, seconds=1.0, seed="s", rate=100.0)
    load.close()
    parts = [read_records([record], clock_zero=window.begun)[0]["intended"] for record in load.records]
    due = pd.concat(parts).sort_values()
    assert window.due == len(due) + window.dropped >= 90
    gaps = due[due <= min(part.max() for part in parts)].diff().dropna()
    slack = 1e-6 + sum(host.clock_error_ms for host in load.load_hosts) / 1000
    assert (gaps - 0.01).abs().max() <= slack


def test_a_worker_that_is_killed_is_lost_by_name_and_leaves_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stretch ends there, for both hosts; the host can join again, and what follows is whole."""
    load = run.configured()
    others = drivers_of(run.workers["near"])
    assert len(others) == 1
    load.window(0, users=4, lead_in=0.0, seconds=0.2, seed="s")
    whole = len(run.server.requests)
    load.begin(users=4, seed="s")
    assert waiting.wait_for(lambda: True if len(run.server.requests) > whole else None, 30)
    run.workers["ahead"].send_signal(signal.SIGKILL)
    run.workers["ahead"].wait(30)
    with pytest.raises(
        LoadHostLost, match=r"^the load generator 2 of 2 \(cell\) on ahead was lost: the connection to "
    ):
        load.end()
    assert not load.watched
    frame, _ = read_records(load.records, clock_zero=0.0)
    assert (frame["window"] == 0).sum() == whole, "what was complete before is here"
    wait_until_nothing_is_left(run.folder / "ahead")
    assert waiting.wait_for(lambda: None if drivers_of(run.workers["near"]) else True, 30), "the other goes on asking"

    monkeypatch.setattr(waiting, "LOAD_HOST_REJOIN", 0.2)
    run.hosts.regain(lambda: None)
    with pytest.raises(LoadHostLost, match=r"load host ahead is gone; it can join again with the command"):
        run.generator()
    run.join("ahead")
    run.hosts.wait()
    load = run.configured()
    driven = load.window(0, users=4, lead_in=0.0, seconds=0.2, seed="s")
    load.close()
    assert len(read_records(load.records, clock_zero=0.0)[0]) == driven.requests > 0


def test_a_driver_that_is_killed_on_its_host_is_told_with_its_cause(run: Run) -> None:
    load = run.configured()
    drivers_of(run.workers["near"])[0].kill()
    expected = r"^the load generator 1 of 2 \(cell\) on near was ended by SIGKILL; its log ends:"
    with pytest.raises(LoadHostLost, match=expected):
        load.window(0, users=2, lead_in=0.0, seconds=0.2, seed="s")


def test_a_profile_that_is_broken_is_no_lost_host(run: Run) -> None:
    with pytest.raises(StackError, match="no profile today") as caught:
        run.configured(profile="raise RuntimeError('no profile today')")
    assert not isinstance(caught.value, LoadHostLost)


def test_who_may_drive_load(alone: Run) -> None:
    """The token of this run, a name of the matrix, and the same code; and nobody learns the token by asking."""
    token, _ = alone.commands["near"]
    mine = {"host": "near", "code": own_code()}
    with pytest.raises(Refused, match="the token is not this run's"):
        knock(alone, "another", mine)
    with pytest.raises(Refused, match="no load host far, but near, ahead"):
        knock(alone, token, {**mine, "host": "far"})
    other = {**own_code(), "connbench's code": "0123"}
    with pytest.raises(Refused, match=r"unlike the runner in connbench's code \(\w{16} here and 0123 there\)$"):
        knock(alone, token, {**mine, "code": other})
    assert [line for line in alone.said if "was refused" in line and alone.network.reach in line]

    # What answers without knowing the token is not obeyed.
    with socket.create_server((alone.network.reach, 0)) as impostor:
        channel = Channel.to(alone.network.reach, impostor.getsockname()[1], 5.0)
        theirs = Channel(impostor.accept()[0])
        theirs.tell({"nonce": "1"})
        theirs.tell({"proof": "2"})
        with pytest.raises(Refused, match="does not know the token"):
            introduce(channel, token, mine, 5.0)
        channel.close()
        theirs.close()

    with knocking(alone, token, mine), pytest.raises(Refused, match="load host near takes part already"):
        knock(alone, token, mine)
    assert not [line for line in alone.said if token in line and not line.startswith(("on load", "load host near was"))]


def test_strangers_are_sent_away_in_time(alone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says nothing, one that speaks something else, and one that never ends its line."""
    monkeypatch.setattr(waiting, "LOAD_HOST_GREETING", 0.2)
    for said in (b"", b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b"x" * (2 * MOST)):
        with contextlib.closing(Channel.to(alone.hosts.address.host, alone.hosts.address.port, 5.0)) as stranger:
            stranger.hear(5.0)
            with contextlib.suppress(OSError):
                os.write(stranger.fileno(), said)
            with pytest.raises(Lost):
                stranger.hear(30.0)


@contextlib.contextmanager
def knocking(run: Run, token: str, hello: dict[str, Any]) -> Iterator[None]:
    channel = Channel.to(run.hosts.address.host, run.hosts.address.port, 5.0)
    with contextlib.closing(channel):
        introduce(channel, token, hello, 10.0)
        yield


def knock(run: Run, token: str, hello: dict[str, Any]) -> None:
    with knocking(run, token, hello):
        """That was all."""


def test_a_token_is_on_no_command_line(run: Run) -> None:
    load = run.configured()
    token, _ = run.commands["near"]
    arguments = [one.info["cmdline"] or [] for one in psutil.process_iter(["cmdline"])]
    load.close()
    assert not [argv for argv in arguments if any(token in argument for argument in argv)]


def test_a_host_that_does_not_come(alone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LOAD_HOSTS_JOIN", 0.3)
    with pytest.raises(EnvironmentUnfit, match=r"^load hosts did not join in 0 s: near, ahead$"):
        alone.hosts.wait()


def test_a_worker_without_a_run() -> None:
    with pytest.raises(EnvironmentUnfit, match=r"^tcp://127.0.0.1:9: the connection cannot be made \(.*refused"):
        join("tcp://127.0.0.1:9", "near", "token", print)
    with pytest.raises(UsageError, match=f"{TOKEN_VARIABLE} is not set"):
        join("tcp://127.0.0.1:9", "near", "", print)
    for wrong in ("127.0.0.1:9", "tcp://127.0.0.1", "tcp://127.0.0.1:many"):
        with pytest.raises(UsageError, match="allowed: tcp://HOST:PORT"):
            join(wrong, "near", "token", print)


def test_ssh_that_cannot_connect_says_why(alone: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(SSH_VARIABLE, f"ssh -F {os.devnull} -o UserKnownHostsFile={tmp_path / 'known'}")
    texts = [f"ssh://nobody@{alone.network.reach}:9/opt/connbench"]
    hosts = LoadHosts(texts, alone.network.reach, alone.provider, tmp_path, alone.said.append)
    with contextlib.closing(hosts):
        hosts.invite()
        with pytest.raises(
            EnvironmentUnfit, match=r":9: ssh left with exit code 255; it said:\n.*[Cc]onnection refused"
        ):
            hosts.wait()


@pytest.fixture
def sshd(net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A host's own sshd, and ssh set up to reach it; where ssh finds the host."""
    there = tmp_path / "there"
    there.mkdir()
    there.chmod(0o1777)
    host = net.hosts[0]
    with running_sshd(host, tmp_path, f"CONNBENCH_STATE={there / 'state'} TMPDIR={there}") as ssh:
        monkeypatch.setenv(SSH_VARIABLE, shlex.join(ssh))
        yield f"ssh://root@{host.address}:{PORT}"


def test_ssh_starts_a_host_and_starts_it_again(sshd: str, alone: Run, tmp_path: Path) -> None:
    """Nobody types anything; a worker that was killed is back for the next attempt, and gone after the run."""
    there = tmp_path / "there"

    def drive(hosts: LoadHosts) -> None:
        asked = len(alone.server.requests)
        load = replace(alone, hosts=hosts).configured(workers=1)
        driven = load.window(0, users=2, lead_in=0.0, seconds=0.2, seed="s")
        load.close()
        assert len(alone.server.requests) - asked == driven.requests > 0

    with contextlib.closing(LoadHosts([sshd], alone.network.reach, alone.provider, tmp_path, print)) as hosts:
        hosts.invite()
        hosts.wait()
        drive(hosts)
        (worker,) = [one for one in psutil.process_iter() if is_worker_of(there, one)]
        assert TOKEN_VARIABLE not in " ".join(worker.cmdline())
        worker.kill()
        assert waiting.wait_for(lambda: None if hosts.all_there else True, 30)
        hosts.regain(lambda: None)
        drive(hosts)
    wait_until_nothing_is_left(there)


def is_worker_of(folder: Path, process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "load-worker" in process.cmdline()[2:3] and process.environ().get("TMPDIR") == str(folder)
    return False


def test_hosts_leave_when_the_run_is_over(run: Run) -> None:
    """The last test of those that share the run."""
    run.hosts.close()
    for name, worker in run.workers.items():
        assert worker.wait(30) == 0, name
        assert "the run is over" in (run.folder / name / "said").read_text()
        wait_until_nothing_is_left(run.folder / name)
