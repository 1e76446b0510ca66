"""The app that a run or one side of a comparison is of: one under apps/, one elsewhere, or either at a revision."""

import shutil
import subprocess
import tarfile
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from runner import waiting
from runner.errors import UsageError
from runner.matrix.cells import Cell
from runner.plan import Plan
from runner.stacks.app import ROOT, App, is_path, read_description
from runner.stacks.versions import PYTHON


@dataclass(frozen=True)
class AppSource:
    """The folder of a project, and its app.yaml; `commit` is None for the files as they are."""

    folder: Path
    commit: str | None
    description: Path

    @property
    def shown(self) -> str:
        return f"{self.folder.name}@{self.commit[:12]}" if self.commit else self.folder.name


def find_app(name_or_folder: str, revision: str | None, where: str) -> AppSource:
    """UsageError, with `where` it was asked for, if there is no such app or revision."""
    path = Path(name_or_folder) if is_path(name_or_folder) else ROOT / "apps" / name_or_folder
    description = path if path.is_file() else path / "app.yaml"
    if not description.is_file():
        raise UsageError(f"{where}: {name_or_folder}: no app: {description} is missing")
    description = description.resolve()
    folder = read_description("", description).folder
    return AppSource(folder, _commit(folder, revision, where) if revision else None, description)


def take_app(source: AppSource, into: Path) -> App:
    """The app, ready to be run: at a revision, as a copy in the new folder `into`."""
    name = source.folder.name
    if source.commit is None:
        return read_description(name, source.description)
    if not source.description.is_relative_to(source.folder):
        raise UsageError(f"{source.description} is not inside its project, {source.folder}: it has no revisions")
    packed = _git(source.folder, "archive", "--format=tar", source.commit, ".")
    into.mkdir(parents=True)
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(into, filter="data")
    place = source.description.relative_to(source.folder)
    if not (into / place).is_file():
        # One that is newer than the revision describes that too, until it is shown to be wrong.
        (into / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.description, into / place)
    return read_description(name, into / place)


def with_app(cell: Cell, app: App) -> Cell:
    """The cell in the environment that this app needs, with as many aliases of its database as the app has."""
    python = {PYTHON: app.description.python} if app.description.python else {}
    replicas = sum(role == "default" for role in app.description.databases.values())
    return replace(cell, app_packages=app.packages, replicas=replicas, versions={**python, **cell.versions})


def for_app(plan: Plan, app: App) -> Plan:
    """A plan of which every cell runs this app."""
    return replace(plan, cells={name: with_app(cell, app) for name, cell in plan.cells.items()})


def _commit(folder: Path, revision: str, where: str) -> str:
    try:
        found = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except UsageError as error:
        raise UsageError(f"{where}: {revision}: no revision of {folder}: {error}") from error
    return found.decode().strip()


def _git(folder: Path, *arguments: str) -> bytes:
    """git, asked in `folder`; UsageError with its own words where it refuses."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=waiting.GIT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"git cannot be asked: {error}") from error
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip() or f"git {arguments[0]} failed"
        raise UsageError(words)
    return done.stdout
