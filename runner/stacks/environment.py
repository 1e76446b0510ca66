"""The app's own virtual environment, apart from the runner's: one for each locked set of packages.

Cached by the content of the lock file and the interpreter, so that a run with nothing new builds nothing. Where a
package is to have another version, uv resolves the set anew around it, keeping whatever still fits.
"""

import fcntl
import hashlib
import os
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from runner.errors import EnvironmentUnfit, StackError
from runner.provision.native import Command, run_command
from runner.stacks.app import ROOT
from runner.stacks.packages import environment_name

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


def build_environment(locked: str, versions: Mapping[str, str] | None = None) -> AppEnvironment:
    """The environment of `requirements/app-<locked>.txt`, built where it is missing: half a minute, to compile uWSGI.

    `versions` are of packages that are to have others than the locked ones: `5.2` is the newest 5.2, `5.2.8` itself.
    """
    name = environment_name(locked, versions or {})
    lock = ROOT / "requirements" / f"app-{locked}.txt"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f".{name}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if versions:
            lock = _resolve(name, lock, versions)
        folder = CACHE / f"{name}-{_key(lock)}"
        built = folder / "built"
        if not built.exists():
            _install(folder, lock)
            built.touch()
    return AppEnvironment(name, folder)


def _key(lock: Path) -> str:
    """What an environment is known by: the same packages, built with the same things, by the same interpreter."""
    return hashlib.sha256(lock.read_bytes() + BUILD.read_bytes() + sys.version.encode()).hexdigest()[:12]


def _resolve(name: str, lock: Path, versions: Mapping[str, str]) -> Path:
    """The lock with other versions in it, resolved once for each lock; `make clean` forgets it."""
    resolved = CACHE / f"{name}-{_key(lock)}.txt"
    if resolved.exists():
        return resolved
    partial = resolved.with_suffix(".partial")
    # What is in the output file already is what uv keeps where it can.
    partial.write_text(lock.read_text("utf-8"), "utf-8")
    overrides = resolved.with_suffix(".overrides")
    extras = _extras(lock.stem)
    pins = (f"{package}{extras.get(package, '')}{_pin(version)}\n" for package, version in versions.items())
    overrides.write_text("".join(pins), "utf-8")
    group = f"{ROOT / 'pyproject.toml'}:{lock.stem}"
    compiling = ["pip", "compile", "--quiet", "--generate-hashes", "--python", sys.executable, "--group", group]
    _run_uv([*compiling, "--override", str(overrides), "--output-file", str(partial)], name)
    partial.replace(resolved)
    return resolved


def _extras(group: str) -> dict[str, str]:
    """`{"psycopg": "[binary,pool]"}`: an override takes the place of a whole requirement, extras included."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        requirements = tomllib.load(file)["dependency-groups"][group]
    found = (re.match(r"([A-Za-z0-9._-]+)(\[[^]]*\])?", requirement) for requirement in requirements)
    return {match[1]: match[2] for match in found if match and match[2]}


def _pin(version: str) -> str:
    """`==5.2.*` for a series, `==5.2.8` for one version."""
    return f"=={version}.*" if re.fullmatch(r"[0-9]+(\.[0-9]+)?", version) else f"=={version}"


def _install(folder: Path, lock: Path) -> None:
    python = ["--python", str(folder / "bin" / "python")]
    _run_uv(["venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], lock.name)
    constraints = ["--require-hashes", "--build-constraints", str(BUILD)]
    _run_uv(["pip", "sync", "--quiet", *python, *constraints, "--compile-bytecode", str(lock)], lock.name)


def _run_uv(arguments: Sequence[str], what: str) -> None:
    # uv may need the user's own mirror and certificate settings, which services never see.
    command = Command([str(ROOT / "scripts" / "uv"), *arguments], dict(os.environ))
    try:
        run_command(command, limit=INSTALL_LIMIT, what=f"the app environment of {what}")
    except StackError as error:
        raise EnvironmentUnfit(f"{error}\nIf a compiler or a header is missing: make setup") from error
