"""The app's own virtual environment, apart from the runner's: one for each locked set of packages.

Cached by the content of the lock file and the interpreter, so that a run with nothing new builds nothing. A set with
other versions than the project's lock file has is locked once, and that lock is kept beside the environments.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from runner import waiting
from runner.errors import EnvironmentUnfit, StackError
from runner.provision.commands import run_command
from runner.provision.service import Command, Kit
from runner.stacks.app import ROOT
from runner.stacks.dependencies import package_name
from runner.stacks.interpreters import PythonMissing, PythonUnfit
from runner.stacks.sources import pinned, pinned_requirement
from runner.stacks.versions import PYTHON, SYSTEM_PYTHON, Recipe, override

# What packages that come as source are built with.
BUILD = ROOT / "requirements" / "build.txt"
CACHE = ROOT / ".connbench" / "envs"
INSTALL_LIMIT = 900.0
#: Of a locked set, what an app has its own word on: Django, and what the packages of pools need.
APPS_OWN = frozenset(
    {"django", "django-db-connection-pool", "django-db-geventpool", "django-postgrespool2", "sqlalchemy"}
)
PSYCOPG = frozenset({"psycopg", "psycopg-binary", "psycopg-c"})
PSYCOPG2 = frozenset({"psycopg2", "psycopg2-binary"})
#: The matrix says which of these is used.
DRIVERS = PSYCOPG | PSYCOPG2 | {"mysqlclient", "psycopg-pool", "pymysql"}

#: In uv's words, which it breaks into lines: a bound of the packages', or wheels that were built for others.
_OTHER_PYTHON = re.compile(r"does\s+not\s+satisfy\s+Python|Python\s+(ABI|version)\s+tag")
_PYTHON_ASKED = (
    'by `versions: {python: "3.12"}` in a matrix, `python: "3.12"` in an app.yaml, `--both python=3.12` in a gate'
)
_PINNED = re.compile(r"^([a-z0-9-]+)(?:\[[^]]*\])?==([^ ;\\]+)", re.MULTILINE)


class BothDrivers(EnvironmentUnfit):
    """The app's packages bring psycopg 3 along, beside which psycopg2 cannot be measured."""


@dataclass(frozen=True)
class AppEnvironment:
    recipe: Recipe
    folder: Path
    #: Where it is in an image.
    kit: Kit | None = None

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def versions(self) -> dict[str, str]:
        """Package to version, as installed."""
        site = next(self.folder.glob("lib/python*/site-packages"))
        return {found.name.lower(): found.version + _commit(found) for found in distributions(path=[str(site)])}


def _commit(found: Distribution) -> str:
    """`@` and the commit that a distribution was made from; nothing for one from the index.

    https://packaging.python.org/en/latest/specifications/direct-url-data-structure/
    """
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    commit = origin.get("vcs_info", {}).get("commit_id", "")
    return f"@{commit[:12]}" if commit else ""


def build_environment(recipe: Recipe) -> AppEnvironment:
    """The environment of a recipe, built where it is missing: half a minute where uWSGI has to be compiled.

    Raises EnvironmentUnfit where an interpreter is missing, versions do not go together, or a build fails.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    python = _interpreter(recipe)
    with (CACHE / f".{recipe.shared_name}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        lock = _lock(recipe, ("--python", python))
        folder = CACHE / f"{recipe.shared_name}-{_key(lock.read_text(), BUILD.read_text(), python)}"
        built = folder / "built"
        if not built.exists():
            _install(folder, lock, python)
            built.touch()
    return AppEnvironment(recipe, folder)


def python_version(recipe: Recipe) -> str:
    """Of the interpreter that a recipe's environment has: `3.11.7`."""
    code = "import platform; print(platform.python_version())"
    command = Command([_interpreter(recipe), "-c", code], dict(os.environ))
    return run_command(command, limit=waiting.VERSION_COMMAND, what="asking Python for its version").strip()


def _interpreter(recipe: Recipe) -> str:
    """The program of a recipe's Python: the runner's own unless told otherwise."""
    if recipe.system_python:
        return _system_python()
    wanted = dict(recipe.versions).get(PYTHON)
    if wanted is None:
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    # pyenv's shims answer to versions that are not switched on, and then fail: its own folders come first.
    kept = sorted(pyenv.glob(f"versions/{wanted}*/bin/python{wanted}"))
    found = str(kept[-1]) if kept else shutil.which(f"python{wanted}")
    if found is None:
        raise PythonMissing(
            f"there is no Python {wanted} on this machine (looked for python{wanted} on the PATH and in {pyenv}); "
            f"install it, or take python {wanted} out of the versions"
        )
    return found


def _system_python() -> str:
    """By the name that has its version in it: another version is another environment."""
    if not SYSTEM_PYTHON.exists():
        raise EnvironmentUnfit(f"the system has no Python of its own ({SYSTEM_PYTHON}): apt-get install python3")
    return str(SYSTEM_PYTHON.resolve())


def lock_of(recipe: Recipe, python: str) -> Path:
    """What an environment with Python `python` ("3.12"), which this machine need not have, is made of."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f".{recipe.shared_name}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        return _lock(recipe, ("--python-version", python))


def _lock(recipe: Recipe, target: tuple[str, str]) -> Path:
    """The project's own lock file, or one for the recipe's app and versions that is compiled once."""
    given = ROOT / "requirements" / f"app-{recipe.base}.txt"
    if not recipe.packages and recipe.app is None:
        return given
    project = (ROOT / "pyproject.toml").read_text()
    group = tomllib.loads(project)["dependency-groups"][f"app-{recipe.base}"]
    files = _compiled_from(recipe, group, given.read_text())
    lock = CACHE / "locks" / f"{recipe.shared_name}-{_key(given.read_text(), project, *files.values(), target[1])}.txt"
    if lock.exists():
        return lock
    lock.parent.mkdir(exist_ok=True)
    for kind, content in files.items():
        lock.with_suffix(f".{kind}").write_text(content)
    partial = lock.with_suffix(".partial")
    # What is in the output file already is what uv keeps where it can.
    partial.write_text(given.read_text())
    options = ["--quiet", "--generate-hashes", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
    asked = [*target, "--overrides", str(lock.with_suffix(".overrides"))]
    if recipe.app is None:
        asked += ["--group", f"app-{recipe.base}"]
    else:
        asked += ["--constraints", str(lock.with_suffix(".constraints")), str(lock.with_suffix(".in"))]
    try:
        _uv(["pip", "compile", *options, *asked, "--output-file", str(partial)], f"locking {recipe.name}")
    except EnvironmentUnfit as error:
        if _OTHER_PYTHON.search(str(error)) is None:
            raise
        raise PythonUnfit(f"{error}\nAnother Python is asked for {_PYTHON_ASKED}") from error
    if recipe.app is not None:
        _refuse_both_drivers(recipe, partial.read_text())
    partial.rename(lock)
    return lock


def _compiled_from(recipe: Recipe, group: Sequence[str], given: str) -> dict[str, str]:
    """What uv reads, by the suffix of its file: overrides, and an app's requirements and constraints."""
    extras = _extras(group)
    fixed = {name: pinned(version) for name, version in recipe.packages}
    if recipe.app is None:
        return {"overrides": _lines(override(name + extras.get(name, ""), version) for name, version in fixed.items())}
    names = [package_name(requirement) for requirement in group]
    # The servers and drivers are what is measured: they come as locked here, whatever version the app asks for.
    locked = dict(_PINNED.findall(given))
    fixed = {**{name: locked[name] for name in names if name not in APPS_OWN}, **fixed}
    asked = [requirement for requirement in recipe.app.requirements if package_name(requirement) not in DRIVERS]
    wanted = [pinned_requirement(requirement) for requirement in asked]
    if any(package_name(requirement) in PSYCOPG2 for requirement in recipe.app.requirements):
        # For code of the app's that imports it by name; Django takes psycopg 3 wherever there is one.
        wanted.append("psycopg2-binary")
    return {
        "overrides": _lines(override(name + extras.get(name, ""), version) for name, version in fixed.items()),
        "in": _lines([*(name + extras.get(name, "") for name in names), *wanted]),
        "constraints": _lines(pin for pin in recipe.app.constraints if package_name(pin) not in {*fixed, *DRIVERS}),
    }


def _refuse_both_drivers(recipe: Recipe, lock: str) -> None:
    names = dict(_PINNED.findall(lock))
    given = dict(_PINNED.findall((ROOT / "requirements" / f"app-{recipe.base}.txt").read_text()))
    if "psycopg" in names and "psycopg" not in given and "psycopg2-binary" in given:
        assert recipe.app is not None, "nothing else brings packages"
        raise BothDrivers(
            f"{recipe.app.name} depends on psycopg 3, which Django takes wherever it is installed: "
            "driver psycopg2 cannot be measured with it"
        )


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _extras(requirements: Sequence[str]) -> dict[str, str]:
    """`{"psycopg": "[binary,pool]"}`: an override takes the place of a whole requirement, its extras included."""
    found = (re.match(r"([A-Za-z0-9._-]+)(\[[^]]*\])", requirement) for requirement in requirements)
    return {match[1]: match[2] for match in found if match}


def _install(folder: Path, lock: Path, python: str) -> None:
    what = f"the app environment of {lock.name}"
    _uv(["venv", "--quiet", "--clear", "--python", python, str(folder)], what)
    # A commit has no hash of a file: it is one.
    hashes = [] if " @ git+" in lock.read_text() else ["--require-hashes"]
    options = [*hashes, "--build-constraints", str(BUILD), "--compile-bytecode"]
    _uv(["pip", "sync", "--quiet", "--python", str(folder / "bin" / "python"), *options, str(lock)], what)


def _uv(arguments: list[str], what: str) -> None:
    # uv may need the user's own mirror and certificate settings, which services never see.
    command = Command([str(ROOT / "scripts" / "uv"), *arguments], dict(os.environ), ROOT)
    try:
        run_command(command, limit=INSTALL_LIMIT, what=what)
    except StackError as error:
        raise EnvironmentUnfit(f"{error}\nIf a compiler or a header is missing: make setup PROVIDER=native") from error


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join([*parts, sys.version]).encode()).hexdigest()[:12]
