"""The app's own virtual environment, apart from the runner's: one for each locked set of packages.

Cached by the content of the lock file and the interpreter, so that a run with nothing new builds nothing.
"""

import fcntl
import hashlib
import os
import sys
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from runner.errors import EnvironmentUnfit, StackError
from runner.provision.native import Command, run_command
from runner.stacks.app import ROOT

# What packages that come as source are built with.
BUILD = ROOT / "requirements" / "build.txt"
CACHE = ROOT / ".connbench" / "envs"
INSTALL_LIMIT = 900.0


@dataclass(frozen=True)
class AppEnvironment:
    name: str
    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def versions(self) -> dict[str, str]:
        """Package to version, as installed."""
        site = next(self.folder.glob("lib/python*/site-packages"))
        return {found.name.lower(): found.version for found in distributions(path=[str(site)])}


def build_environment(name: str) -> AppEnvironment:
    """The environment of `requirements/app-<name>.txt`, built where it is missing: half a minute, to compile uWSGI."""
    lock = ROOT / "requirements" / f"app-{name}.txt"
    key = hashlib.sha256(lock.read_bytes() + BUILD.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = CACHE / f"{name}-{key}"
    built = folder / "built"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f".{name}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not built.exists():
            _install(folder, lock)
            built.touch()
    return AppEnvironment(name, folder)


def _install(folder: Path, lock: Path) -> None:
    uv = str(ROOT / "scripts" / "uv")
    steps = (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
        [
            uv,
            "pip",
            "sync",
            "--quiet",
            "--python",
            str(folder / "bin" / "python"),
            "--require-hashes",
            "--build-constraints",
            str(BUILD),
            "--compile-bytecode",
            str(lock),
        ],
    )
    for step in steps:
        try:
            # uv may need the user's own mirror and certificate settings, which services never see.
            run_command(
                Command(step, dict(os.environ)), limit=INSTALL_LIMIT, what=f"the app environment of {lock.name}"
            )
        except StackError as error:
            raise EnvironmentUnfit(f"{error}\nIf a compiler or a header is missing: make setup") from error
