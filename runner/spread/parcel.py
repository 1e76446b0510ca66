"""What comes back from a host: a block's part of a run's folder as one tar, taken in whole or not at all."""

import io
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.errors import ConnbenchError
from runner.plan import PlannedAttempt
from runner.results.schema import RunEnd
from runner.results.store import RunFolder, writing


class Unfit(ConnbenchError):
    """What came is not what was ordered."""


@dataclass(frozen=True)
class Arrival:
    """A block's results, taken in."""

    end: RunEnd
    hosts: frozenset[str]


def pack(folder: Path) -> bytes:
    """All that a block's run has left in its folder. Parquet is compressed already."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    return buffer.getvalue()


def take_in(parcel: bytes, folder: RunFolder, block: int, planned: Mapping[str, PlannedAttempt]) -> Arrival:
    """Puts a block into the run's folder, where `planned` (by cell) says what has to be in it.

    An attempt becomes visible by a rename, as everywhere. Unfit, and the folder as it was, if anything is missing or
    is not the block's.
    """
    arrived = folder.path / f".arrived-b{block}"
    shutil.rmtree(arrived, ignore_errors=True)
    try:
        with writing(arrived):
            arrived.mkdir(mode=0o700)
            _unpack(parcel, arrived)
        source = RunFolder(arrived)
        end = _checked_end(source)
        found = source.attempts()
        expected = {(one.cell, one.block, one.attempt) for one in planned.values()}
        if {(record.cell, record.block, record.attempt) for _, record in found} != expected:
            raise Unfit(f"block {block}: {len(found)} attempts came, not the {len(expected)} that were ordered")
        for path, record in found:
            folder.adopt(path, record)
        _take_logs(source, folder, block)
        return Arrival(end, frozenset(record.measured_on for _, record in found))
    finally:
        shutil.rmtree(arrived, ignore_errors=True)


def _unpack(parcel: bytes, arrived: Path) -> None:
    try:
        with tarfile.open(fileobj=io.BytesIO(parcel)) as tar:
            tar.extractall(arrived, filter="data")
    except tarfile.TarError as error:
        raise Unfit(f"what came from the host cannot be unpacked: {error}") from error


def _checked_end(source: RunFolder) -> RunEnd:
    end = source.end()
    if end is None or end.status != "finished":
        raise Unfit(f"the block was {'cut off' if end is None else end.status}{_why(end)}")
    return end


def _why(end: RunEnd | None) -> str:
    return f": {end.finding}" if end is not None and end.finding else ""


def _take_logs(source: RunFolder, folder: RunFolder, block: int) -> None:
    events = source.path / "events.jsonl"
    with writing(folder.path):
        for logs in sorted(source.path.glob("logs*")):
            place = folder.path / f"{logs.name}-b{block}"
            shutil.rmtree(place, ignore_errors=True)
            logs.rename(place)
        if events.exists():
            with (folder.path / "events.jsonl").open("a", encoding="utf-8") as file:
                file.write(events.read_text("utf-8"))
