"""The app that a side of a comparison runs: one under apps/, a folder elsewhere, or either at a git revision."""

import subprocess
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from runner import waiting
from runner.errors import UsageError
from runner.stacks.app import ROOT, App, read_app


@dataclass(frozen=True)
class AppSource:
    """Where an app comes from; `commit` is None for the files as they are."""

    folder: Path
    commit: str | None

    @property
    def shown(self) -> str:
        return f"{self.folder.name}@{self.commit[:12]}" if self.commit else self.folder.name


def find_app(name_or_folder: str, revision: str | None, where: str) -> AppSource:
    """UsageError, with `where` it was asked for, if there is no such app or revision."""
    folder = Path(name_or_folder) if "/" in name_or_folder else ROOT / "apps" / name_or_folder
    if not (folder / "app.yaml").is_file():
        raise UsageError(f"{where}: {name_or_folder}: no app: {folder / 'app.yaml'} is missing")
    return AppSource(folder.resolve(), _commit(folder, revision, where) if revision else None)


def take_app(source: AppSource, into: Path) -> App:
    """The app, ready to be run: at a revision, as a copy in the new folder `into`."""
    name = source.folder.name
    if source.commit is None:
        return read_app(name, source.folder)
    packed = _git(source.folder, "archive", "--format=tar", source.commit, ".")
    into.mkdir(parents=True)
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(into, filter="data")
    if not (into / "app.yaml").is_file():
        raise UsageError(f"{source.shown}: no app.yaml in {source.folder} at that revision")
    return read_app(name, into)


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
