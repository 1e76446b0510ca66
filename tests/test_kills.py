"""The runner is killed at random moments, again and again, and what it had finished is all there.

`make kills KILLS=50` does it more often. What is drawn can be drawn again: the seed is part of each message.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.counting import injected
from tests.processes import ROOT, connbench, left_in, own_tmpdir

pytestmark = [pytest.mark.server, pytest.mark.timeout(3600)]

TINY = ROOT / "tests" / "matrices" / "tiny.yaml"
KILLS = int(os.environ.get("KILLS", "5"))
# Kills of one run before it is let come to its end.
CHAIN = 5
PLANNED = 4
# A run of the tiny matrix takes some ten seconds.
LATEST_KILL = 9.0
LIMIT = 500


@pytest.fixture
def tmpdir_of_runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with own_tmpdir(monkeypatch) as folder:
        yield folder


def finished(folder: Path) -> dict[str, bytes]:
    """Every file of every visible attempt."""
    return {str(path): path.read_bytes() for path in folder.glob("cells/*/b*/**/*") if path.is_file()}


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "runner", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def killed_after(seconds: float, with_guard: bool, arguments: list[str], log: Path) -> bool:
    """Whether the command was killed, and had not come to its end before."""
    process = connbench(arguments, log)
    time.sleep(seconds)
    if process.poll() is not None:
        return False
    if with_guard:
        for child in psutil.Process(process.pid).children():
            with suppress(psutil.NoSuchProcess):
                if "runner.provision.guard" in child.cmdline():
                    child.kill()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return True


def left_after_the_next_command(tmpdir: Path) -> list[str]:
    """Whichever command it is: processes, folders and journals."""
    done = command("plan", "-m", str(TINY))
    assert done.returncode == 0, done.stderr
    folders = [path for path in tmpdir.glob("connbench-*") if path.is_dir()]
    return [*left_in(tmpdir), *map(str, [*folders, *tmpdir.glob("connbench.state-*/journals/*")])]


def check_visible_attempts_are_whole(folder: Path, told: str) -> None:
    for path in folder.glob("cells/*/b*-a*"):
        names = {file.name for file in path.iterdir()}
        assert {"attempt.json", "requests.parquet", "samples.parquet", "host.parquet", "logs"} <= names, told


@pytest.mark.parametrize("chain", range(-(-KILLS // CHAIN)))
def test_killed_at_random_moments(chain: int, tmpdir_of_runs: Path, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6) if "KILLS" in os.environ else chain
    draw = random.Random(seed)
    out = tmp_path / "out"
    latest = out / "latest"
    before: dict[str, bytes] = {}
    for number in range(min(CHAIN, KILLS - chain * CHAIN)):
        begun = (latest / "run.json").exists()
        arguments = ["resume", str(latest)] if begun else ["run", "-m", str(TINY), "--out", str(out)]
        seconds, with_guard = draw.uniform(0.2, LATEST_KILL), draw.random() < 0.5
        told = f"seed {seed}, kill {number} after {seconds:.2f} s{' with its guard' if with_guard else ''}"
        with injected("the runner is killed", told) as outcome:
            outcome.happened = killed_after(seconds, with_guard, arguments, tmp_path / f"{number}.log")
            left, now = left_after_the_next_command(tmpdir_of_runs), finished(latest)
            outcome.left, outcome.lost = len(left), len(before.items() - now.items())
            assert left == [], told
            assert now.items() >= before.items(), told
            check_visible_attempts_are_whole(latest, told)
            before = now
    arguments = ["resume", str(latest)] if latest.exists() else ["run", "-m", str(TINY), "--out", str(out)]
    done = command(*arguments)
    assert done.returncode == 0, (seed, done.stdout, done.stderr)
    assert finished(latest).items() >= before.items()
    attempts = [json.loads(path.read_text()) for path in latest.glob("cells/*/b*-a*/attempt.json")]
    whole = [one for one in attempts if not one["cut_off"]]
    assert len({(one["cell"], one["block"]) for one in whole}) == len(whole) == PLANNED
    assert {one["verdict"]["status"] for one in whole} == {"ok"}
    assert json.loads((latest / "end.json").read_text())["status"] == "finished"
    assert list(latest.glob("cells/*/.*.partial")) == []
    assert left_in(tmpdir_of_runs) == []
