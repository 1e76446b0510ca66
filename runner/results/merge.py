"""Shards of one run, measured apart, as one run's folder. Nothing is measured or judged here."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from runner.errors import UsageError
from runner.results.schema import CellRecord, DatabaseRecord, HostRecord, RunEnd, RunRecord
from runner.results.store import RunFolder, write_json

#: What shards of one run have in common. The host is not among it: cells that are compared are of one shard.
SAME = ("name", "matrix_hash", "seed", "quick", "blocks", "adaptive", "only", "provider", "versions")


def merge(shards: Sequence[RunFolder], out: Path, command: str) -> RunFolder:
    """One run of all cells in a new folder under `out`; UsageError, naming what is wrong, if they are no one run."""
    records = [folder.run() for folder in shards]
    ends = [_end_of(folder) for folder in shards]
    _refuse_different(shards, records)
    _refuse_double(shards, records)
    _refuse_incomplete(records)
    databases = _databases(shards, ends)
    cells = _in_order([cell for record in records for cell in record.cells], records)
    host = common_host([record.host for record in records])
    first = min(records, key=lambda record: record.started_at)
    merged = RunFolder.create(
        out, first.model_copy(update={"cells": cells, "host": host, "shard": "", "command": command})
    )
    for number, folder in enumerate(shards, start=1):
        shutil.copytree(folder.path / "cells", merged.path / "cells", dirs_exist_ok=True)
        for logs in folder.path.glob("logs*"):
            shutil.copytree(logs, merged.path / f"{logs.name}-shard-{number}")
    rows = [row for folder in shards for row in folder.planned()]
    merged.write_plan(sorted(rows, key=lambda row: row["block"]))
    _write_events(shards, merged)
    end = RunEnd(
        status="finished",
        finished_at=max(end.finished_at for end in ends),
        wall_seconds=sum(end.wall_seconds or 0.0 for end in ends),
        databases=databases,
        time_spent=time_spent(ends),
    )
    write_json(merged.path / "end.json", end)
    return merged


def time_spent(ends: Iterable[RunEnd]) -> dict[str, float]:
    """Seconds of all parts together, by what they went to."""
    spent: Counter[str] = Counter()
    for end in ends:
        spent.update(end.time_spent)
    return dict(spent)


def _end_of(folder: RunFolder) -> RunEnd:
    end = folder.end()
    if end is None or end.status != "finished":
        how = "cut off" if end is None else end.status
        raise UsageError(f"{folder.path}: this shard was {how}; finish it first: connbench resume {folder.path}")
    return end


def _refuse_different(shards: Sequence[RunFolder], records: Sequence[RunRecord]) -> None:
    for folder, record in zip(shards[1:], records[1:], strict=True):
        for name in SAME:
            mine, theirs = getattr(records[0], name), getattr(record, name)
            if mine != theirs:
                raise UsageError(
                    f"{shards[0].path} and {folder.path} are no shards of one run: they differ in "
                    f"{name}: {_difference(mine, theirs)}"
                )


def _difference(mine: object, theirs: object) -> str:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        name = next(key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key))
        return f"{name} ({mine.get(name)} and {theirs.get(name)})"
    return f"{mine} and {theirs}"


def _refuse_double(shards: Sequence[RunFolder], records: Sequence[RunRecord]) -> None:
    seen: dict[str, RunFolder] = {}
    for folder, record in zip(shards, records, strict=True):
        for cell in record.cells:
            if cell.id in seen:
                raise UsageError(f"{seen[cell.id].path} and {folder.path} both have the cell {cell.id}")
            seen[cell.id] = folder


def _refuse_incomplete(records: Sequence[RunRecord]) -> None:
    found = {record.shard for record in records}
    counts = {shard.partition("/")[2] for shard in found}
    if "" in found:
        raise UsageError("a run without --shard is whole: there is nothing to merge it with")
    if len(counts) > 1:
        raise UsageError(f"these are shards of different divisions: {', '.join(sorted(found))}")
    count = int(counts.pop())
    missing = [f"{number}/{count}" for number in range(1, count + 1) if f"{number}/{count}" not in found]
    if missing:
        raise UsageError(f"shards are missing: {', '.join(missing)}")


def _databases(shards: Sequence[RunFolder], ends: Sequence[RunEnd]) -> list[DatabaseRecord]:
    known: dict[str, DatabaseRecord] = {}
    for folder, end in zip(shards, ends, strict=True):
        for record in end.databases:
            before = known.setdefault(record.name, record)
            if before.product != record.product:
                raise UsageError(
                    f"{folder.path} differs from the others in database {record.name}: "
                    f"{before.product} and {record.product}"
                )
    return [known[name] for name in sorted(known)]


def _in_order(cells: Sequence[CellRecord], records: Sequence[RunRecord]) -> list[CellRecord]:
    """As far as can be told the matrix's own order: by the axes' values as it lists them."""
    # By their text: a value may be a list, and an axis may have thousands.
    axes = {
        axis: {json.dumps(value): place for place, value in reversed(list(enumerate(values)))}
        for axis, values in records[0].matrix.get("matrix", {}).items()
    }

    def place(cell: CellRecord) -> list[int]:
        return [places.get(json.dumps(cell.axes.get(axis)), -1) for axis, places in axes.items()]

    return sorted(cells, key=place)


def common_host(hosts: Sequence[HostRecord]) -> HostRecord:
    """The one host, or what several have in common; their joint fingerprint is no single host's."""
    several = {host.fingerprint: host for host in hosts}
    if len(several) == 1:
        return hosts[0]
    distinct = [several[name] for name in sorted(several)]
    return HostRecord(
        fingerprint=hashlib.sha256("|".join(sorted(several)).encode()).hexdigest()[:16],
        system=" | ".join(dict.fromkeys(host.system for host in distinct)),
        kernel=" | ".join(dict.fromkeys(host.kernel for host in distinct)),
        cpu=f"{len(distinct)} hosts: " + " | ".join(dict.fromkeys(host.cpu for host in distinct)),
        cores=min(host.cores for host in distinct),
        memory_bytes=min(host.memory_bytes for host in distinct),
    )


def _write_events(shards: Sequence[RunFolder], merged: RunFolder) -> None:
    lines = [
        line
        for folder in shards
        if (folder.path / "events.jsonl").exists()
        for line in (folder.path / "events.jsonl").read_text("utf-8").splitlines()
    ]
    lines.sort(key=lambda line: str(json.loads(line)["at"]))
    (merged.path / "events.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")
