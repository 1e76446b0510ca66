"""Reading and writing a run's folder. What is written is written once, and an attempt appears whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from pydantic import BaseModel, ValidationError

from runner.errors import UsageError
from runner.results.schema import SCHEMA_VERSION, AttemptRecord, RunEnd, RunRecord

Record = TypeVar("Record", bound=BaseModel)


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
        (self.path / "plan.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")

    def event(self, kind: str, **fields: object) -> None:
        """Appends one line and hands it to the kernel, so that a killed run still tells its story."""
        line = json.dumps({"at": now_utc(), "event": kind, **fields})
        with (self.path / "events.jsonl").open("a", encoding="utf-8") as events:
            events.write(line + "\n")

    def begin_attempt(self, cell: str, block: int, attempt: int) -> Path:
        """A hidden folder for what an attempt writes while it lives; `commit_attempt` makes it visible."""
        final = self.path / "cells" / cell / f"b{block}-a{attempt}"
        partial = final.with_name(f".{final.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "logs").mkdir(parents=True)
        return partial

    def commit_attempt(self, partial: Path, record: AttemptRecord) -> Path:
        """Writes attempt.json last and renames the folder into its place: from then on the attempt is there, whole."""
        write_json(partial / "attempt.json", record)
        final = partial.with_name(f"b{record.block}-a{record.attempt}")
        partial.rename(final)
        return final

    def run(self) -> RunRecord:
        return read_json(self.path / "run.json", RunRecord)

    def end(self) -> RunEnd | None:
        path = self.path / "end.json"
        return read_json(path, RunEnd) if path.exists() else None

    def attempts(self) -> list[tuple[Path, AttemptRecord]]:
        """Every finished attempt with its folder, by block and then cell."""
        found = [
            (path.parent, read_json(path, AttemptRecord))
            for path in sorted((self.path / "cells").glob("*/b*-a*/attempt.json"))
        ]
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
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text + "\n", "utf-8")
    partial.replace(path)


def read_json(path: Path, model: type[Record]) -> Record:
    """Reads one record; a broken, foreign or newer file is refused with its path."""
    try:
        raw = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
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
