"""Commands that are run to their end on this machine."""

import sys
from pathlib import Path

import pytest

from runner.errors import StackError
from runner.provision.commands import run_command
from runner.provision.service import Command
from tests.processes import gone


def test_a_commands_output_is_returned(tmp_path: Path) -> None:
    text = tmp_path / "input"
    text.write_text("hello")
    assert run_command(Command(["cat"]), limit=60, what="cat", stdin=text) == "hello"
    assert run_command(Command(["pwd"], cwd=tmp_path), limit=60, what="pwd").strip() == str(tmp_path)


def test_a_failure_carries_the_outputs_tail() -> None:
    source = "print('\\n'.join(map(str, range(100)))); raise SystemExit(3)"
    with pytest.raises(StackError, match=r"counting failed with exit code 3:\n80\n81\n") as caught:
        run_command(Command([sys.executable, "-c", source]), limit=60, what="counting")
    assert str(caught.value).endswith("99")


def test_a_command_that_does_not_end_is_ended(tmp_path: Path) -> None:
    path = str(tmp_path / "pid")
    source = f"import os, time; print(os.getpid(), file=open({path!r}, 'w'), flush=True); time.sleep(60)"
    with pytest.raises(StackError, match="sleeping did not end within 1 s"):
        run_command(Command([sys.executable, "-c", source]), limit=1, what="sleeping")
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_command_that_does_not_exist() -> None:
    with pytest.raises(StackError, match="it could not be started"):
        run_command(Command(["/no/such/program"]), limit=60, what="it")
