"""Process groups: started, watched, ended, whatever they do and whatever becomes of the runner."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from runner import waiting
from runner.errors import StackError
from runner.provision.native import PORTS, NativeProvider
from runner.provision.native_service import NativeService
from runner.provision.service import Address, Command
from tests.processes import gone

NOWHERE = Address("", 0)
ROOT = Path(__file__).resolve().parents[2]
# Says when it is ready; `deaf` says to which signals it does not listen.
SLEEPER = """
import signal, sys, time
for number in {deaf}:
    signal.signal(number, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""
#: Uses 0.3 s of processor time.
BUSY = """
import time
end = time.process_time() + 0.3
while time.process_time() < end: pass
"""
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""

Start = Callable[..., NativeService]


@pytest.fixture
def provider() -> Iterator[NativeProvider]:
    with closing(NativeProvider()) as provider:
        yield provider


@pytest.fixture
def start(provider: NativeProvider, tmp_path: Path) -> Start:
    def start(source: str, name: str = "sleeper", **command: object) -> NativeService:
        log_path = tmp_path / f"{name}.log"
        argv = [sys.executable, "-c", source]
        service = provider.start(name, Command(argv, **command), NOWHERE, log_path)  # type: ignore[arg-type]
        found = waiting.wait_for(lambda: log_path.read_text().endswith("\n") or None, 10)
        assert found, service.log_tail()
        return service

    return start


def sleeper(*deaf: signal.Signals) -> str:
    return SLEEPER.format(deaf=[int(number) for number in deaf])


def test_a_service_is_stopped_in_good_order(start: Start, provider: NativeProvider) -> None:
    service = start(sleeper())
    assert service.alive()
    provider.stop(service)
    assert not service.alive()
    assert "KeyboardInterrupt" in service.log_tail(), "INT was not what ended it"
    service.stop()
    provider.stop(service)


def test_its_own_stop_signal_is_sent_first(start: Start) -> None:
    service = start(
        "import signal, time; signal.signal(signal.SIGTERM, lambda *_: (print('left'), exit()));"
        "print('ready', flush=True); time.sleep(60)",
        stop_signal=signal.SIGTERM,
    )
    service.stop()
    assert service.log_tail().endswith("left")


@pytest.mark.parametrize("deaf", [[signal.SIGINT], [signal.SIGINT, signal.SIGTERM]], ids=["to INT", "to INT and TERM"])
def test_who_is_deaf_is_ended_all_the_same(
    start: Start, deaf: list[signal.Signals], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "STOP_INT", 0.2)
    monkeypatch.setattr(waiting, "STOP_TERM", 0.2)
    service = start(sleeper(*deaf))
    service.stop()
    assert not service.alive()


STOPPED = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)


def test_a_family_stands_still_and_goes_on(start: Start) -> None:
    service = start(PARENT)
    service.suspend()
    family = service.processes()
    assert len(family) == 2
    assert waiting.wait_for(lambda: all(one.status() in STOPPED for one in family) or None, 10)
    service.resume()
    assert waiting.wait_for(lambda: not any(one.status() in STOPPED for one in family) or None, 10)
    service.resume()
    assert service.alive()


def test_what_stands_still_can_be_ended_in_good_order(start: Start, provider: NativeProvider) -> None:
    service = start(sleeper())
    service.suspend()
    provider.stop(service)
    assert "KeyboardInterrupt" in service.log_tail()


def test_what_was_stopped_starts_again_as_the_same_service(
    start: Start, provider: NativeProvider, tmp_path: Path
) -> None:
    # The kernel counts in hundredths of a second: less than one may be none.
    service = start(BUSY + sleeper())
    first, log = service.pid, service.log_path
    provider.stop(service)
    spent = service.cpu_seconds()
    assert service.exit_code is not None
    provider.start_again(service)
    assert waiting.wait_for(lambda: log.read_text().count("ready") == 2 or None, 30)
    assert service.pid != first
    assert service.exit_code is None
    assert service.cpu_seconds() >= spent > 0
    provider.close()
    assert not service.alive()
    with pytest.raises(StackError, match="was not started again: the run is being stopped"):
        provider.start_again(service)


def test_grandchildren_go_with_their_parent(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    service = start(PARENT)
    grandchild = int(service.log_tail())
    assert len(service.processes()) == 2
    service.stop()
    assert waiting.wait_for(lambda: gone(grandchild) or None, 2)


def test_grandchildren_of_one_that_ended_by_itself_go_too(start: Start) -> None:
    service = start(PARENT.replace("time.sleep(60)\n", "") + "print('bye', flush=True)")
    assert service.wait(60)
    grandchild = int(service.log_tail().split()[0])
    assert not gone(grandchild)
    service.stop()
    assert waiting.wait_for(lambda: gone(grandchild) or None, 2)


def test_close_ends_the_newest_first_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = NativeProvider()
    stopped: list[str] = []
    stop = NativeService.stop

    def noted(service: NativeService) -> None:
        stopped.append(service.name)
        stop(service)

    monkeypatch.setattr(NativeService, "stop", noted)
    services = [
        provider.start(name, Command(["sleep", "60"]), NOWHERE, tmp_path / name) for name in ("one", "two", "three")
    ]
    provider.stop(services[1])
    provider.close()
    assert stopped == ["two", "three", "one"]
    assert not any(service.alive() for service in services)
    assert not provider.folder.exists()
    with pytest.raises(StackError, match="late was not started"):
        provider.start("late", Command(["sleep", "60"]), NOWHERE, tmp_path / "late")


def test_one_that_cannot_be_stopped_does_not_keep_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = NativeProvider()
    older, newer = (
        provider.start(name, Command(["sleep", "60"]), NOWHERE, tmp_path / name) for name in ("older", "newer")
    )
    stop = NativeService.stop

    def interrupted(service: NativeService) -> None:
        if service is newer and newer.alive():
            stop(newer)
            raise KeyboardInterrupt
        stop(service)

    monkeypatch.setattr(NativeService, "stop", interrupted)
    with pytest.raises(KeyboardInterrupt):
        provider.close()
    assert not older.alive()
    assert not provider.folder.exists()


def test_a_program_that_does_not_exist(provider: NativeProvider, tmp_path: Path) -> None:
    with pytest.raises(StackError, match="nothing could not be started"):
        provider.start("nothing", Command(["/no/such/program"]), NOWHERE, tmp_path / "log")


def test_free_addresses_are_free_and_outside_the_ephemeral_range(provider: NativeProvider) -> None:
    for _ in range(50):
        address = provider.free_address()
        assert address.port in PORTS
        with socket.create_server((address.host, address.port)):
            pass


def test_a_port_in_use_is_not_offered(provider: NativeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        offers = [taken.getsockname()[1]] * 3 + [provider.free_address().port]
        monkeypatch.setattr("runner.provision.native.random.choice", lambda _: offers.pop(0))
        assert provider.free_address().port != taken.getsockname()[1]


def test_folders_are_private(provider: NativeProvider) -> None:
    folder = provider.private_folder("mine", unprivileged=True)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert folder.stat().st_uid != 0


def test_an_unprivileged_service_is_not_root(provider: NativeProvider, tmp_path: Path) -> None:
    log_path = tmp_path / "id.log"
    service = provider.start("id", Command(["id", "-u"]), NOWHERE, log_path, unprivileged=True)
    assert service.wait(60)
    assert int(log_path.read_text()) != 0


def test_the_environment_is_the_commands_own(
    provider: NativeProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHOST", "somewhere")
    log_path = tmp_path / "env.log"
    assert provider.start("env", Command(["env"], {"GIVEN": "1"}), NOWHERE, log_path).wait(60)
    variables = dict(line.split("=", 1) for line in log_path.read_text().splitlines())
    assert variables["GIVEN"] == "1"
    assert "PATH" in variables
    assert "PGHOST" not in variables


def test_what_a_service_uses(start: Start) -> None:
    service = start(BUSY + "print('ready', flush=True)\ntime.sleep(60)")
    usage = service.usage()
    assert 0.2 <= usage.cpu_seconds < 10
    assert usage.memory_bytes > 1_000_000
    service.stop()
    assert service.usage().memory_bytes == 0


# --- the guard ---


KILLED = f"""
import sys, time
from pathlib import Path
from runner.provision.native import NativeProvider
from runner.provision.service import Address, Command
provider = NativeProvider()
source = {PARENT!r}
service = provider.start("a", Command([sys.executable, "-c", source]), Address("", 0), Path(sys.argv[1]))
print(provider.folder, service.pid, flush=True)
time.sleep(60)
"""


def test_the_guard_ends_what_a_killed_runner_left(tmp_path: Path) -> None:
    log_path = tmp_path / "log"
    argv = [sys.executable, "-c", KILLED, str(log_path)]
    runner = subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT)
    assert runner.stdout is not None
    folder, pid = runner.stdout.readline().split()
    assert waiting.wait_for(lambda: log_path.read_text().strip() or None, 5)
    family = [int(pid), int(log_path.read_text())]
    assert not any(map(gone, family))
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    runner.stdout.close()
    assert waiting.wait_for(lambda: all(map(gone, family)) or None, 5)
    assert waiting.wait_for(lambda: not Path(folder.decode()).exists() or None, 5)
