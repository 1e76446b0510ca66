"""The database sampler on a real server: its rate, its rows, its end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pandas as pd
import psutil
import pytest

from runner import waiting
from runner.errors import StackError
from runner.provision.native import NativeProvider
from runner.results.schema import SamplerQuality
from runner.sampling.database import DatabaseSampler
from runner.sampling.poller import RECONNECT_SECONDS
from runner.stacks.databases import make_database
from runner.stacks.databases.base import Account, Database
from runner.stacks.databases.mysql import MySQLSpec
from runner.stacks.databases.postgres import PostgresSpec
from tests.stacks.databases.clients import ask, session

pytestmark = [pytest.mark.server, pytest.mark.alone]

LIMIT = 60
#: How often a busy machine may spoil a second that is timed.
TRIES = 10


@pytest.fixture(scope="module")
def provider() -> Iterator[NativeProvider]:
    with closing(NativeProvider()) as provider:
        yield provider


@pytest.fixture(scope="module", params=[PostgresSpec(), MySQLSpec()], ids=["postgres", "mysql"])
def database(provider: NativeProvider, request: pytest.FixtureRequest) -> Iterator[Database]:
    database = make_database(request.param)
    database.start(provider, request.param.engine, provider.folder)
    yield database
    database.close()


@pytest.fixture
def account(database: Database) -> Iterator[Account]:
    account = database.create_empty("watched")
    yield account
    database.drop(account)


Start = Callable[[float], DatabaseSampler]


@pytest.fixture
def start(database: Database, provider: NativeProvider, tmp_path: Path) -> Iterator[Start]:
    made: list[DatabaseSampler] = []

    def start(per_second: float) -> DatabaseSampler:
        path = tmp_path / f"samples-{len(made)}.raw"
        made.append(DatabaseSampler(database, provider, per_second, path))
        return made[-1]

    yield start
    for sampler in made:
        sampler.stop()


def look_for_a_second(start: Start, database: Database, account: Account) -> tuple[SamplerQuality, pd.DataFrame]:
    """At 50 looks a second: nobody there for half of it, then one session."""
    sampler = start(50)
    zero = time.monotonic()
    sampler.watch("watched")
    time.sleep(0.5)
    with closing(session(database, account)):
        time.sleep(0.5)
    quality = sampler.stop()
    seconds = time.monotonic() - zero
    frame = sampler.read("watched", zero)
    assert frame["offset"].between(0, seconds).all()
    assert quality is not None
    assert quality.taken == len(frame) <= 50 * seconds + 2
    return quality, frame


def test_rows_come_at_a_steady_rate_zeros_included(start: Start, database: Database, account: Account) -> None:
    """That they come in time is seen in a second in which the machine lets them."""
    quality, frame = look_for_a_second(start, database, account)
    for _ in range(TRIES):
        if quality.late < 5 and quality.achieved_per_second >= 45:
            break
        quality, frame = look_for_a_second(start, database, account)
    assert list(frame.columns) == ["offset", "active", "idle", "idle_in_transaction", "waiting", "total"]
    assert frame["offset"].diff().median() == pytest.approx(0.02, abs=0.002)
    assert frame["total"].iloc[0] == 0
    assert set(frame["total"]) == {0, 1}
    assert (frame["idle"] == frame["total"]).mean() > 0.9
    assert quality.asked_per_second == 50
    assert 45 <= quality.achieved_per_second <= 51
    assert quality.late < 5
    assert 0 < quality.cpu_seconds < 0.5


def test_only_what_is_watched_has_rows(start: Start) -> None:
    sampler = start(100)
    assert sampler.quality().taken == 0, "it looked though nothing was watched"
    sampler.watch("first")
    assert waiting.wait_for(lambda: not sampler.read("first", 0.0).empty or None, LIMIT)
    zero = time.monotonic()
    sampler.watch("second")
    assert waiting.wait_for(lambda: not sampler.read("second", 0.0).empty or None, LIMIT)
    sampler.unwatch("first")
    # Its answer comes after what it was told before.
    taken = sampler.quality().taken
    ended = time.monotonic() - zero
    assert waiting.wait_for(lambda: sampler.quality().taken >= taken + 5 or None, LIMIT)
    first, second = sampler.read("first", zero), sampler.read("second", zero)
    assert first["offset"].min() < 0 <= second["offset"].min()
    assert first["offset"].max() < ended < second["offset"].max()
    assert sampler.read("second", zero, until=ended)["offset"].max() <= ended
    assert sampler.read("never watched", zero).empty
    assert sampler.gaps(zero) == []


def test_a_cut_connection_leaves_a_gap_with_its_reason(start: Start, database: Database) -> None:
    sampler = start(50)
    zero = time.monotonic()
    sampler.watch("watched")
    assert waiting.wait_for(lambda: not sampler.read("watched", zero).empty or None, LIMIT)
    cut_own_sessions(database)
    assert waiting.wait_for(lambda: sampler.gaps(zero) or None, LIMIT)
    ((at, reason),) = sampler.gaps(zero)
    assert "connection" in reason.lower()
    assert waiting.wait_for(lambda: sampler.read("watched", zero)["offset"].max() > at or None, LIMIT)
    offsets = sampler.read("watched", zero)["offset"]
    assert offsets.min() < at < offsets.max()
    assert offsets.diff().max() >= RECONNECT_SECONDS
    quality = sampler.quality()
    seconds = time.monotonic() - zero
    assert quality.achieved_per_second < 50
    assert quality.taken <= 50 * (seconds - RECONNECT_SECONDS) + 2, "what the gap has cost is not made up for"


def cut_own_sessions(database: Database) -> None:
    """All sessions of the harness but the one for the books."""
    admin = database._admin  # type: ignore[attr-defined]
    if database.spec.engine == "postgres":
        mine = "usename = 'connbench' AND pid <> pg_backend_pid()"
        ask(admin, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}")
    else:
        mine = "user = 'connbench' AND id <> CONNECTION_ID()"
        for (one,) in ask(admin, f"SELECT id FROM information_schema.processlist WHERE {mine}"):
            ask(admin, f"KILL {one}")


def test_a_torn_line_is_left_out(start: Start) -> None:
    sampler = start(50)
    sampler.watch("watched")
    assert waiting.wait_for(lambda: not sampler.read("watched", 0.0).empty or None, LIMIT)
    sampler.stop()
    with sampler._path.open("ab") as file:
        file.write(b'[12.5,{"watched":[0,')
    assert not sampler.read("watched", 0.0).empty


def test_its_end_is_told_and_a_second_stop_does_nothing(start: Start) -> None:
    sampler = start(20)
    sampler._service.stop()
    with pytest.raises(StackError, match="sampler"):
        sampler.quality()
    assert sampler.stop() is None
    assert sampler.stop() is None


def test_a_server_that_cannot_be_reached_is_told(
    database: Database, provider: NativeProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {**database.monitor_arguments(), "password": "wrong"}
    monkeypatch.setattr(database, "monitor_arguments", lambda: arguments)
    with pytest.raises(StackError, match="could not connect"):
        DatabaseSampler(database, provider, 20, tmp_path / "samples.raw")


def test_secrets_are_in_no_arguments(start: Start, database: Database) -> None:
    sampler = start(20)
    arguments = psutil.Process(sampler._service.pid).cmdline()
    assert database.monitor_arguments()["password"] not in " ".join(arguments)


ORPHANED = """
import json, socket, subprocess, sys
ours, theirs = socket.socketpair()
argv = [sys.executable, "-m", "runner.sampling.poller", str(theirs.fileno())]
child = subprocess.Popen(argv, pass_fds=[theirs.fileno()], start_new_session=True)
theirs.close()
ours.sendall(sys.stdin.buffer.readline())
assert b"ready" in ours.recv(100)
ours.sendall(b'{"watch": "watched"}\\n')
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_it_ends_when_its_parent_dies(database: Database, tmp_path: Path) -> None:
    order = {
        "engine": database.spec.engine,
        "arguments": database.monitor_arguments(),
        "per_second": 20,
        "path": str(tmp_path / "samples.raw"),
    }
    parent = subprocess.Popen([sys.executable, "-c", ORPHANED], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdin.write(json.dumps(order).encode() + b"\n")
    parent.stdin.flush()
    child = psutil.Process(int(parent.stdout.readline()))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    _gone, alive = psutil.wait_procs([child], timeout=LIMIT)
    assert not alive
