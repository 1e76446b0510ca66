"""Reading and writing a run's folder. What is written is written once, and an attempt appears whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from pydantic import BaseModel, ValidationError

from runner.errors import ResultsUnwritable, UsageError
from runner.results.schema import SCHEMA_VERSION, AttemptRecord, RunEnd, RunRecord

Record = TypeVar("Record", bound=BaseModel)
PARTIAL = ".partial"


def now_utc() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class RunFolder:
    """results/<utc>-<name>-<hash8>/"""

    def __init__(self, path: Path) -> None:
        # Absolute: what writes here may stand in another folder.
        self.path = path.resolve()

    @classmethod
    def create(cls, out: Path, run: RunRecord) -> "RunFolder":
        """Makes the folder, writes run.json and points `latest` at it."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        path = out / f"{stamp}-{run.name}-{run.matrix_hash[:8]}"
        try:
            out.mkdir(parents=True, exist_ok=True)
            # Logs tell much of a machine: for nobody else to read.
            path.mkdir(mode=0o700)
        except FileExistsError:
            raise UsageError(f"{path} exists already: another run started in the same second; try again") from None
        except OSError as error:
            raise UsageError(f"{path} cannot be made ({error.strerror}): choose another folder with --out") from error
        folder = cls(path)
        write_json(path / "run.json", run)
        latest = out / "latest"
        pointer = out / f".latest-{os.getpid()}"
        pointer.symlink_to(path.name)
        pointer.replace(latest)
        return folder

    def write_plan(self, rows: Iterator[Mapping[str, Any]] | list[Mapping[str, Any]]) -> None:
        path = self.path / "plan.jsonl"
        partial = partial_of(path)
        with writing(path):
            partial.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
            partial.replace(path)

    def event(self, kind: str, **fields: object) -> None:
        """Appends one line and hands it to the kernel, so that a killed run still tells its story."""
        line = json.dumps({"at": now_utc(), "event": kind, **fields})
        path = self.path / "events.jsonl"
        with writing(path), path.open("a", encoding="utf-8") as events:
            events.write(line + "\n")

    def begin_attempt(self, cell: str, block: int, attempt: int) -> Path:
        """A hidden folder for what an attempt writes while it lives; `commit_attempt` makes it visible."""
        final = self.attempt_path(cell, block, attempt)
        partial = partial_of(final)
        shutil.rmtree(partial, ignore_errors=True)
        with writing(partial):
            (partial / "logs").mkdir(parents=True)
        return partial

    def attempt_path(self, cell: str, block: int, attempt: int) -> Path:
        """Where a finished attempt is."""
        return self.path / "cells" / cell / f"b{block}-a{attempt}"

    def write_attempt(self, partial: Path, record: AttemptRecord) -> None:
        """Writes attempt.json, the last file of an attempt, once its data is on the disk: it survives a power cut."""
        with writing(partial):
            for data in partial.glob("*.parquet"):
                _to_disk(data)
            write_json(partial / "attempt.json", record)
            _to_disk(partial / "attempt.json")
            _to_disk(partial)

    def commit_attempt(self, partial: Path) -> Path:
        """Renames the folder into its place: from then on the attempt is there, whole."""
        final = partial.with_name(partial.name.removeprefix(".").removesuffix(PARTIAL))
        with writing(final):
            partial.rename(final)
            _to_disk(final.parent)
        return final

    def adopt(self, whole: Path, record: AttemptRecord) -> Path:
        """Takes in a finished attempt that was written elsewhere on this disk, whole."""
        final = self.attempt_path(record.cell, record.block, record.attempt)
        with writing(final):
            final.parent.mkdir(parents=True, exist_ok=True)
            for path in whole.iterdir():
                if path.is_file():
                    _to_disk(path)
            whole.rename(final)
            _to_disk(final.parent)
        return final

    def planned(self) -> list[Mapping[str, Any]]:
        """The rows of plan.jsonl; none where the run was killed before it was written."""
        path = self.path / "plan.jsonl"
        if not path.exists():
            return []
        try:
            return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: cannot be read: {error}") from error

    def run(self) -> RunRecord:
        return read_json(self.path / "run.json", RunRecord)

    def end(self) -> RunEnd | None:
        path = self.path / "end.json"
        return read_json(path, RunEnd) if path.exists() else None

    def _read_attempt(self, path: Path) -> AttemptRecord:
        """Ids become paths, and a folder may come from elsewhere: nothing in it leads out of it."""
        if not path.resolve().is_relative_to(self.path):
            raise UsageError(f"{path}: leads out of the run's folder; it is not read")
        record = read_json(path, AttemptRecord)
        if self.attempt_path(record.cell, record.block, record.attempt) != path.parent:
            raise UsageError(
                f"{path}: is not where it belongs: it says of itself that it is attempt {record.attempt} of "
                f"block {record.block} of {record.cell!r}"
            )
        return record

    def attempts(self) -> list[tuple[Path, AttemptRecord]]:
        """Every finished attempt with its folder, by block and then cell."""
        paths = sorted((self.path / "cells").glob("*/b*-a*/attempt.json"))
        found = [(path.parent, self._read_attempt(path)) for path in paths]
        return sorted(found, key=lambda pair: (pair[1].block, pair[1].cell, pair[1].attempt))


def open_run(path: Path) -> RunFolder:
    """The run folder at `path`; refuses what is none or follows a newer schema, naming what is wrong."""
    if not path.exists():
        raise UsageError(f"{path}: there is no such run folder")
    if not (path / "run.json").is_file():
        raise UsageError(f"{path}: no run folder (run.json is missing)")
    return RunFolder(path.resolve())


def write_json(path: Path, record: BaseModel | Mapping[str, Any]) -> None:
    """Writes beside and renames, so that a reader never sees half a file."""
    text = record.model_dump_json(indent=1) if isinstance(record, BaseModel) else json.dumps(record, indent=1)
    partial = partial_of(path)
    with writing(path):
        partial.write_text(text + "\n", "utf-8")
        partial.replace(path)


def partial_of(path: Path) -> Path:
    """What a file or folder is called until it is whole."""
    return path.with_name(f".{path.name}{PARTIAL}")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the disk says (full, read-only, gone) into one message."""
    try:
        yield
    except OSError as error:
        raise ResultsUnwritable(
            f"{path}: cannot be written ({error.strerror or error}). What is finished is kept; "
            "make room, then `connbench resume` the run"
        ) from error


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path, model: type[Record]) -> Record:
    """Reads one record; a broken, foreign or newer file is refused with its path."""
    try:
        raw = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if not isinstance(version, int):
        raise UsageError(f"{path}: no schema_version in it; not a file of connbench")
    if version > SCHEMA_VERSION:
        raise UsageError(f"{path}: follows schema {version}, this connbench knows {SCHEMA_VERSION}; use a newer one")
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: {where}: {first['msg']}") from error


def read_frame(path: Path) -> pd.DataFrame:
    """One of an attempt's Parquet files; empty where it never got that far. A broken one is refused."""
    if not path.exists():
        return pd.DataFrame()
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
        raise UsageError(f"{path}: cannot be read: {error}") from error
