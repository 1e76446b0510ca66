"""The load generator as it runs: Locust in its own process, against a small server that counts."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import psutil
import pytest

from runner import waiting
from runner.errors import StackError
from runner.load.generator import Driven, LoadGenerator
from runner.load.records import read_records
from runner.provision.native import NativeProvider
from runner.provision.service import Address
from tests.load.serving import serving

pytestmark = [pytest.mark.server, pytest.mark.alone]

#: How often a busy machine may spoil what is timed.
TRIES = 5

PROFILE = """
from locust import task
from {module} import {user}

class Visitor({user}):
    @task(4)
    def good(self): self.client.get("/good/")
    @task(1)
    def bad(self): self.client.get("/bad/")
"""


#: Ours, and one of Locust's own, which somebody's profile may use: the same is promised of both.
USERS = {"BenchmarkUser": "runner.load.user", "FastHttpUser": "locust"}


class CountingServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        self.paths: Counter[str] = Counter()
        self.connections = 0
        super().__init__(("127.0.0.1", 0), Handler)

    def get_request(self):  # type: ignore[no-untyped-def]
        self.connections += 1
        return super().get_request()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that closes its kept-alive connection is no error."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CountingServer

    def do_GET(self) -> None:
        self.server.paths[self.path] += 1
        time.sleep(0.005)
        body = b"ok"
        self.send_response(500 if self.path == "/bad/" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Server-Timing", "app;dur=5.000, worker;desc=77.1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def server() -> Iterator[CountingServer]:
    with CountingServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def provider() -> Iterator[NativeProvider]:
    made = NativeProvider()
    yield made
    made.close()


def generator(provider: NativeProvider, tmp_path: Path, workers: int = 1) -> LoadGenerator:
    return LoadGenerator(provider, "cell", tmp_path / "requests.raw", tmp_path / "load.log", workers=workers)


def configured(
    provider: NativeProvider,
    server: CountingServer,
    tmp_path: Path,
    *,
    keep_alive: bool = True,
    user: str = "BenchmarkUser",
    model: str = "closed",
    workers: int = 1,
) -> LoadGenerator:
    module = USERS[user]
    profile = tmp_path / "profile.py"
    profile.write_text(PROFILE.format(module=module, user=user))
    made = generator(provider, tmp_path, workers)
    made.configure(profile, Address("127.0.0.1", server.server_address[1]), keep_alive=keep_alive, model=model)
    return made


@pytest.mark.parametrize("user", USERS)
def test_every_request_is_recorded(provider: NativeProvider, server: CountingServer, tmp_path: Path, user: str) -> None:
    """Stretch after stretch, what the server answered is what was recorded: nothing is lost at a stop."""
    load = configured(provider, server, tmp_path, user=user)
    count = load.count(users=4, seconds=0.5, workers=1, seed="s")
    windows = [load.window(number, users=4, lead_in=0.1, seconds=0.3, seed="s") for number in range(3)]
    load.close()

    frame, _ = read_records([tmp_path / "requests.raw"], clock_zero=count.begun)
    served = server.paths
    assert len(frame) == sum(served.values()) == count.requests + sum(window.requests for window in windows)
    assert (frame["error"] != "").sum() == served["/bad/"] == count.errors + sum(window.errors for window in windows)
    assert all(window.locust_requests == window.requests for window in windows)
    assert sorted(frame["window"].unique()) == [-1, 0, 1, 2]
    assert frame["service_ms"].min() >= 5.0
    for window in windows:
        assert 0.3 <= window.end - window.start < 10
        assert 0.1 <= window.start - window.begun < 10
        assert window.cpu_seconds > 0


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("keep_alive", [True, False])
def test_keep_alive_decides_how_many_connections(
    provider: NativeProvider, server: CountingServer, tmp_path: Path, keep_alive: bool, user: str
) -> None:
    load = configured(provider, server, tmp_path, keep_alive=keep_alive, user=user)
    driven = load.window(0, users=3, lead_in=0.0, seconds=0.4, seed="s")
    load.close()
    assert driven.requests > 5
    assert server.connections == (3 if keep_alive else driven.requests)


def test_the_count_goes_on_until_every_worker_has_answered(
    provider: NativeProvider, server: CountingServer, tmp_path: Path
) -> None:
    """Two workers are expected and one ever answers: twice the time, and not steady."""
    load = configured(provider, server, tmp_path)
    lonely = load.count(users=2, seconds=1.0, workers=2, seed="s")
    assert not lonely.steady
    assert lonely.end - lonely.start >= 2.0
    counts = (load.count(users=2, seconds=1.0, workers=1, seed="s") for _ in range(TRIES))
    assert any(complete.steady and complete.end - complete.start < 2.0 for complete in counts)
    load.close()


def test_a_broken_profile_is_told_with_its_cause(provider: NativeProvider, tmp_path: Path) -> None:
    profile = tmp_path / "broken.py"
    profile.write_text("raise RuntimeError('no profile today')")
    load = generator(provider, tmp_path)
    with pytest.raises(StackError, match="no profile today"):
        load.configure(profile, Address("127.0.0.1", 9), keep_alive=True, model="closed")
    load.close()


def test_it_leaves_when_the_channel_closes(provider: NativeProvider, server: CountingServer, tmp_path: Path) -> None:
    load = configured(provider, server, tmp_path)
    process = psutil.Process(load.services[0].pid)
    load.close()
    assert not process.is_running()
    assert "Traceback" not in (tmp_path / "load.log").read_text()


def test_a_killed_generator_is_reported(provider: NativeProvider, server: CountingServer, tmp_path: Path) -> None:
    load = configured(provider, server, tmp_path)
    psutil.Process(load.services[0].pid).kill()
    with pytest.raises(StackError, match=r"^the load generator \(cell\) was ended by SIGKILL; its log ends:"):
        load.window(0, users=1, lead_in=0.0, seconds=0.2, seed="s")
    load.close()


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("model", ["closed", "open"])
def test_stop_after_stop_nothing_is_lost(
    provider: NativeProvider, server: CountingServer, tmp_path: Path, user: str, model: str
) -> None:
    """Users are told to stop while they wait, while they ask, and at the very moment at which their wait is over."""
    load = configured(provider, server, tmp_path, user=user, model=model)
    pace = {"rate": 400.0, "arrivals": "poisson"} if model == "open" else {}
    windows = [
        load.window(number, users=24, lead_in=0.0, seconds=0.05 + number / 2000, seed=f"{number}", **pace)
        for number in range(40)
    ]
    load.close()
    frame, _ = read_records(load.records, clock_zero=windows[0].begun)
    assert len(frame) == sum(server.paths.values()) == sum(window.requests for window in windows) > 100
    assert (frame["status"] > 0).all(), "none was cut off"


def test_what_is_cut_off_is_on_record_as_unanswered(
    provider: NativeProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has seen it and never answers: nobody could tell from the records that it was sent."""
    monkeypatch.setattr(waiting, "LOAD_STOP", 0.5)
    profile = tmp_path / "profile.py"
    profile.write_text(PROFILE.format(module=USERS["BenchmarkUser"], user="BenchmarkUser"))
    with serving(lambda _request, _connection: True) as silent:
        load = generator(provider, tmp_path)
        host, _, port = silent.url.removeprefix("http://").partition(":")
        load.configure(profile, Address(host, int(port)), keep_alive=True, model="closed")
        driven = load.window(0, users=2, lead_in=0.0, seconds=0.3, seed="s")
        load.close()
        seen = len(silent.requests)
    frame, _ = read_records(load.records, clock_zero=driven.begun)
    assert len(frame) == seen == driven.requests == driven.errors == 2
    assert (frame["status"] == 0).all()
    assert set(frame["error"]) == {"CutOff"}


def test_several_processes_drive_together_and_each_keeps_its_record(
    provider: NativeProvider, server: CountingServer, tmp_path: Path
) -> None:
    load = configured(provider, server, tmp_path, workers=3)
    assert len({service.pid for service in load.services}) == 3
    count = load.count(users=7, seconds=0.5, workers=1, seed="s")
    windows = [load.window(number, users=7, lead_in=0.1, seconds=0.3, seed="s") for number in range(2)]
    load.close()
    parts = [read_records([record], clock_zero=count.begun)[0] for record in load.records]
    frame, examples = read_records(load.records, clock_zero=count.begun)
    assert all(len(part) > 0 for part in parts)
    assert len(frame) == sum(len(part) for part in parts) == sum(server.paths.values())
    assert len(frame) == count.requests + sum(window.requests for window in windows)
    assert set(frame["endpoint"]) == {"GET /good/", "GET /bad/"}
    assert (frame["error"] == "HTTP 500").sum() == server.paths["/bad/"]
    assert set(examples) == {"HTTP 500"}
    assert server.connections == 3 * 7, "seven users in each of three stretches"
    assert all(window.locust_requests == window.requests for window in windows)
    for window in windows:
        assert 0 < window.end - window.start <= window.stopped - window.begun
        assert 0 < window.busiest < 1.5


def test_several_processes_together_are_one_schedule(
    provider: NativeProvider, server: CountingServer, tmp_path: Path
) -> None:
    """Even gaps over all of them, though each has but every second arrival; a search counts in the closed model."""
    load = configured(provider, server, tmp_path, model="open", workers=2)
    load.count(users=4, seconds=0.2, workers=1, seed="s")
    window = load.window(0, users=40, lead_in=0.0, seconds=1.0, seed="s", rate=100.0)
    load.close()
    parts = [read_records([record], clock_zero=window.begun)[0] for record in load.records]
    moments = [part.loc[part["window"] == 0, "intended"] for part in parts]
    due = pd.concat(moments).sort_values()
    assert window.due == len(due) + window.dropped >= 95
    # Where a process was held up at the end, its last arrivals never left.
    gaps = due[due <= min(part.max() for part in moments)].diff().dropna()
    assert len(gaps) > 0
    assert (gaps.min(), gaps.max()) == (pytest.approx(0.01, abs=1e-6), pytest.approx(0.01, abs=1e-6))


def test_one_of_several_processes_that_dies_ends_the_generator(
    provider: NativeProvider, server: CountingServer, tmp_path: Path
) -> None:
    """The attempt fails for that reason, and none of the others goes on asking."""
    load = configured(provider, server, tmp_path, workers=2)
    processes = [psutil.Process(service.pid) for service in load.services]
    threading.Timer(0.5, processes[1].kill).start()
    with pytest.raises(StackError, match=r"^the load generator 2 of 2 \(cell\) was ended by SIGKILL"):
        load.count(users=4, seconds=1.0, workers=99, seed="s")
    assert not any(process.is_running() for process in processes)
    load.close()


@pytest.mark.parametrize("user", USERS)
def test_the_open_model_asks_at_its_own_rate(
    provider: NativeProvider, server: CountingServer, tmp_path: Path, user: str
) -> None:
    profile = tmp_path / "profile.py"
    profile.write_text(PROFILE.format(module=USERS[user], user=user))
    load = generator(provider, tmp_path)
    load.configure(profile, Address("127.0.0.1", server.server_address[1]), keep_alive=True, model="open")
    driven: list[Driven] = []
    for rate in (50.0, 150.0):
        # A machine that has other things to do at the end of a second takes its last arrivals with it.
        for _ in range(TRIES):
            driven.append(load.window(len(driven), users=20, lead_in=0.0, seconds=1.0, seed="s", rate=rate))
            assert driven[-1].requests + driven[-1].dropped == driven[-1].due
            if driven[-1].dropped == 0 and abs(driven[-1].due - rate) <= 2:
                break
        else:
            pytest.fail(f"at {rate} a second: {driven}")
    load.close()
    frame, _ = read_records([tmp_path / "requests.raw"], clock_zero=driven[0].begun)
    gaps = frame.loc[frame["window"] == len(driven) - 1, "intended"].sort_values().diff().dropna()
    assert gaps.min() == pytest.approx(gaps.max(), abs=1e-6), "an even pace, whatever the timers did"
