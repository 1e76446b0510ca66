"""What a killed runner left is cleaned to the last process, and nothing else is touched."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from runner import waiting
from runner.provision import journal as journals
from runner.provision import processes
from runner.provision.journal import Journal, read_journal
from runner.provision.leftovers import clean, owned, sweep
from tests.processes import ROOT

# A runner with one service, which has a child in a session of its own that has left its parents, as a suspended
# PostgreSQL backend does: its environment is not ours, and it stands in its folder.
RUNNER = """
import sys, time
from pathlib import Path
from runner.provision.native import NativeProvider
from runner.provision.service import Address, Command
provider = NativeProvider()
folder = provider.private_folder("data")
child = (
    "import subprocess, sys, time; "
    "one = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(120)'], start_new_session=True, env={}); "
    "print(one.pid, flush=True); time.sleep(120)"
)
service = provider.start("a", Command([sys.executable, "-c", child], cwd=folder), Address("", 0), Path(sys.argv[1]))
print(provider.folder, provider._guard.pid, service.pid, flush=True)
time.sleep(120)
"""


@pytest.fixture(autouse=True)
def _fresh_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONNBENCH_STATE", str(tmp_path / "state"))


class Killed:
    """A runner that is killed together with its guard."""

    def __init__(self, log: Path) -> None:
        self.runner = subprocess.Popen([sys.executable, "-c", RUNNER, str(log)], stdout=subprocess.PIPE, cwd=ROOT)
        assert self.runner.stdout is not None
        folder, guard, service = self.runner.stdout.readline().split()
        self.folder, self.guard = Path(folder.decode()), int(guard)
        assert waiting.wait_for(lambda: (log.exists() and log.read_text().strip()) or None, 30)
        self.family = [psutil.Process(int(service)), psutil.Process(int(log.read_text()))]

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.guard, signal.SIGKILL)
        self.runner.kill()
        self.runner.wait()
        assert self.runner.stdout is not None
        self.runner.stdout.close()
        assert waiting.wait_for(lambda: processes.look(self.guard) is None or None, 30)

    def alive(self) -> list[psutil.Process]:
        return [one for one in self.family if one.is_running() and processes.look(one.pid) is not None]


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Killed]:
    left = Killed(tmp_path / "log")
    try:
        yield left
    finally:
        left.kill()
        for process in left.alive():
            process.kill()


def test_a_runner_that_lives_is_left_alone(left: Killed) -> None:
    assert sweep(pytest.fail, pytest.fail) == []
    assert len(left.alive()) == 2


def test_everything_of_a_killed_one_goes(left: Killed) -> None:
    left.kill()
    assert len(left.alive()) == 2
    said: list[str] = []
    (cleaned,) = sweep(said.append, pytest.fail)
    assert waiting.wait_for(lambda: not left.alive() or None, 30)
    assert (cleaned.pid, cleaned.ended, cleaned.folders, cleaned.left) == (left.runner.pid, 2, 1, ())
    assert not left.folder.exists()
    assert journals.journals() == []
    assert f"pid {left.runner.pid}" in said[0]
    assert sweep(pytest.fail, pytest.fail) == []


def test_suspended_ones_that_lost_their_parents_go_too(left: Killed) -> None:
    """A database that hangs and whose first process is killed leaves such."""
    leader, orphan = left.family
    orphan.suspend()
    leader.kill()
    left.kill()
    assert waiting.wait_for(lambda: orphan.ppid() != leader.pid or None, 30)
    assert [process.pid for process in left.alive()] == [orphan.pid]
    (cleaned,) = sweep(lambda _: None, pytest.fail)
    assert cleaned.ended == 1
    assert waiting.wait_for(lambda: not left.alive() or None, 30)


def test_the_guard_does_the_same_at_once(left: Killed) -> None:
    left.family[1].suspend()
    os.kill(left.runner.pid, signal.SIGKILL)
    left.runner.wait()
    assert waiting.wait_for(lambda: not left.alive() or None, 30)
    assert waiting.wait_for(lambda: not journals.journals() or None, 30)
    assert not left.folder.exists()


def edit(change: Callable[[dict[str, object]], object]) -> None:
    """Changes every line of the only journal."""
    (path,) = journals.journals()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        change(line)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("started", 1),  # every pid is somebody else's by now
        ("space", "00000000-0000-0000-0000-000000000000/pid:[1]"),  # another boot of the machine
    ],
)
def test_what_is_not_provably_ours_is_not_touched(tmp_path: Path, key: str, value: object) -> None:
    bystander = subprocess.Popen(["sleep", "120"])
    try:
        seen = processes.look(bystander.pid)
        assert seen is not None
        made = Journal()
        made.note("folder", path=str(tmp_path / "folder"))
        (tmp_path / "folder").mkdir()
        made.note("process", name="a", pid=bystander.pid, started=seen.started, program="sleep", stop_signal=15)
        dead = subprocess.Popen(["true"])
        dead.wait()
        made.release()
        edit(lambda line: line["kind"] == "runner" and line.update(pid=dead.pid))
        assert [process.pid for process in owned(read_journal(made.path))] == [bystander.pid]
        edit(lambda line: key in line and line.update({key: value}))
        (cleaned,) = sweep(lambda _: None, pytest.fail)
        assert (cleaned.ended, cleaned.folders) == (0, 1)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_who_only_looks_into_the_folder_is_no_part_of_it(tmp_path: Path) -> None:
    """A person's shell that stands there runs no program of the run's."""
    folder = tmp_path / "folder"
    folder.mkdir()
    person = subprocess.Popen(["sleep", "120"], cwd=folder)
    try:
        made = Journal()
        made.note("folder", path=str(folder))
        made.note("process", name="a", pid=1, started=-1, program=sys.executable, stop_signal=15)
        assert owned(read_journal(made.path)) == set()
    finally:
        person.kill()
        person.wait()
        made.release()


def test_a_torn_journal_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    made = Journal()
    made.note("folder", path=str(tmp_path))
    made.release()
    with made.path.open("a") as file:
        file.write('{"kind": "process", "pid": 1')
    recorded = read_journal(made.path)
    assert (recorded.folders, recorded.processes) == ([tmp_path], {})


def of_the_dead(*notes: Mapping[str, str]) -> Journal:
    """The journal of a runner that is dead."""
    made = Journal()
    for note in notes:
        made.note(**note)
    made.release()
    dead = subprocess.Popen(["true"])
    dead.wait()
    edit(lambda line: line["kind"] == "runner" and line.update(pid=dead.pid))
    return made


def test_what_is_on_other_servers_is_for_a_command_that_can_say_so() -> None:
    left = {"kind": "hosted-left", "variable": "ONE"}
    made = of_the_dead({"kind": "hosted", "variable": "ONE"}, {"kind": "hosted", "variable": "TWO"}, left)
    assert clean(read_journal(made.path)).elsewhere == ()
    assert made.path.exists()
    said: list[str] = []
    sweep(said.append, "3 databases dropped at {}".format)
    assert said[0].endswith("0 folders removed; 3 databases dropped at TWO")
    assert not made.path.exists()


def test_what_this_version_cannot_clean_is_named_and_kept() -> None:
    made = of_the_dead({"kind": "container", "id": "abc"})
    said: list[str] = []
    sweep(said.append, pytest.fail)
    assert "left: a container" in said[0]
    assert made.path.exists()


def test_a_process_is_known_by_its_start_time() -> None:
    child = subprocess.Popen(["sleep", "120"])
    try:
        seen = processes.look(child.pid)
        assert seen is not None
        assert seen.parent == os.getpid()
        assert seen in processes.descendants(processes.snapshot(), [os.getpid()])
        child.send_signal(signal.SIGSTOP)
        assert waiting.wait_for(lambda: (seen := processes.look(child.pid)) and (seen.stopped or None), 30)
        stranger = processes.Process(child.pid, seen.started - 1, 0, "S")
        processes.send(stranger, signal.SIGKILL)
        assert processes.kill([stranger], 1) == set()
        assert child.poll() is None
        processes.kill([seen], 30)
        assert child.wait(30) == -signal.SIGKILL
        assert processes.look(child.pid) is None
    finally:
        child.kill()
        child.wait()
