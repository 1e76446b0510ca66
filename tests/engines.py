"""A Docker engine for the tests, with stand-ins for the official images: see tests/docker/engine.

It is the tests' own, whatever engine the machine has otherwise; its images are kept for the next time.
"""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.stacks.app import ROOT

#: In the environment: the tests that need all images are wanted too.
FULL = "CONNBENCH_DOCKER_TESTS"
#: The engine that the machine has, before tests are kept from it.
MACHINES_OWN = os.environ.get("DOCKER_HOST")
SCRIPT = ROOT / "tests" / "docker" / "engine"
#: Of the script, and of connbench: this machine cannot.
CANNOT_RUN = 3
#: Builds Debian from its packages: a minute, and several on a busy machine.
LIMIT = 1500
KITS = ("python", "postgres", "pgbouncer", "mariadb", "mysql")
TAGS = {"python": "3.11", "postgres": "15", "pgbouncer": "1.18", "mariadb": "10.11", "mysql": "9"}


def image(kit: str) -> str:
    """The stand-in's name."""
    return f"connbench-standin/{kit}:{TAGS[kit]}"


@contextmanager
def running_engine(kits: Sequence[str]) -> Iterator[Path]:
    """An engine that has these stand-ins, by DOCKER_HOST; its folder. The test is skipped, loudly, where it cannot be.

    CONNBENCH_TEST_ENGINE names a folder whose engine runs already, and is left running.
    """
    given = os.environ.get("CONNBENCH_TEST_ENGINE")
    folder = Path(given) if given else Path(os.environ.get("TMPDIR", "/tmp")) / "connbench-test-engine"
    try:
        host = _ask("up", folder)
        _ask("images", folder, *(f"{kit}:{TAGS[kit]}" for kit in kits))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_HOST", host)
            for kit in kits:
                patch.setenv(f"CONNBENCH_{kit.upper()}_IMAGE", image(kit))
            yield folder
    finally:
        if not given:
            _ask("down", folder)


def start_again(folder: Path) -> None:
    """The engine of this folder, after it was killed."""
    (folder / "docker.pid").unlink(missing_ok=True)
    _ask("up", folder)


def compose(folder: Path, *arguments: object) -> str:
    """What `docker compose` with these arguments says, on the engine of this folder."""
    return _ask("compose", folder, *arguments)


def _ask(*arguments: object) -> str:
    env = {**os.environ, "DOCKER_HOST": MACHINES_OWN or ""}
    command = [str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False, env=env)
    if done.returncode == CANNOT_RUN:
        pytest.skip(f"no Docker engine for the tests: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return str(done.stdout).strip()
