"""One run at a time on a machine."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runner import waiting
from runner.errors import EnvironmentUnfit
from runner.provision.state import state_folder, state_path
from runner.turn import HostBusy, own_turn
from tests.processes import ROOT

HOLDER = """
import time
from runner.turn import own_turn
with own_turn():
    print("mine", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _fresh_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONNBENCH_STATE", str(tmp_path / "state"))


def test_the_second_is_told_who_has_it() -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mine\n"
        with pytest.raises(HostBusy, match=rf"pid {holder.pid}, in {ROOT}, since 20.*--wait") as caught, own_turn():
            pytest.fail("it was not its turn")
        assert caught.value.exit_code == 3
        # The kernel frees the lock of one that is killed.
        os.kill(holder.pid, signal.SIGKILL)
    finally:
        holder.kill()
        holder.communicate()
    with own_turn():
        pass


def test_waiting_for_ones_turn() -> None:
    said: list[str] = []
    waited = threading.Event()

    def second() -> None:
        with own_turn(wait=True, say=said.append):
            waited.set()

    with own_turn():
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait_for(lambda: said or None, 30)
        assert not waited.is_set()
    assert waited.wait(30)
    thread.join()
    assert f"pid {os.getpid()}" in said[0]
    assert said[0].endswith("waiting for its end")


def test_an_unsigned_lock_is_a_lock(tmp_path: Path) -> None:
    with own_turn():
        (state_folder() / "measuring.lock").write_text("torn {")
        with pytest.raises(HostBusy, match="another run measures on this machine"), own_turn():
            pass


def test_checkouts_with_a_tmpdir_each_are_not_in_each_others_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONNBENCH_STATE")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "one"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "three"))
    with own_turn():
        monkeypatch.setenv("TMPDIR", str(tmp_path / "two"))
        with own_turn():
            pass
    monkeypatch.delenv("TMPDIR")
    assert state_path().parent == tmp_path / "three"


@pytest.mark.parametrize("spoil", ["open to others", "a link", "a file"])
def test_a_state_folder_that_others_could_write_is_refused(tmp_path: Path, spoil: str) -> None:
    state = tmp_path / "state"
    if spoil == "a file":
        state.touch()
    elif spoil == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        state.symlink_to(tmp_path / "elsewhere")
    else:
        state.mkdir()
        state.chmod(0o777)
    with pytest.raises(EnvironmentUnfit, match="TMPDIR"):
        state_folder()
