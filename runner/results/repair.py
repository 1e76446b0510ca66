"""What a crash can have left of an attempt, and what of it still counts."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from runner.errors import UsageError
from runner.plan import PlannedGroup
from runner.results.schema import AttemptRecord
from runner.results.store import PARTIAL, RunFolder, partial_of, read_json

# Beside the whole ones, in case somebody wants to look at it; nothing reads it.
TORN = ".torn"


def mend(folder: RunFolder, groups: Iterable[PlannedGroup]) -> list[str]:
    """Puts a run's folder in order after a crash; says what it did, a line each.

    A group whose attempts were all written, and only some of them made visible, is made visible as a whole. A visible
    attempt that a power cut has torn is set aside. What is left of half attempts goes.
    """
    done = []
    for group in groups:
        done += _set_torn_aside(folder, group)
        done += _make_visible(folder, group)
    for partial in sorted((folder.path / "cells").glob(f"*/.*{PARTIAL}")):
        shutil.rmtree(partial)
        done.append(f"{partial.parent.name}/{partial.name}: half an attempt, removed")
    return done


def last_attempt(folder: RunFolder, group: PlannedGroup) -> int:
    """The highest number under which any of the group's attempts is there; 0 where none is."""
    numbers = [
        int(path.name.rpartition("-a")[2])
        for planned in group.attempts
        for path in folder.attempt_path(planned.cell, planned.block, 0).parent.glob(f"b{planned.block}-a[0-9]*")
        if path.name.rpartition("-a")[2].isdigit()
    ]
    return max(numbers, default=0)


def is_whole(folder: RunFolder, group: PlannedGroup, number: int) -> bool:
    """Whether all of the group's attempts of this number came to their end, whatever their verdicts."""
    for planned in group.attempts:
        path = folder.attempt_path(planned.cell, planned.block, number) / "attempt.json"
        if not path.exists() or read_json(path, AttemptRecord).cut_off:
            return False
    return True


def _set_torn_aside(folder: RunFolder, group: PlannedGroup) -> list[str]:
    done = []
    for planned in group.attempts:
        cell = folder.attempt_path(planned.cell, planned.block, 0).parent
        for path in sorted(cell.glob(f"b{planned.block}-a[0-9]*")):
            if why := torn(path):
                path.rename(path.with_name(f".{path.name}{TORN}"))
                done.append(f"{cell.name}/{path.name}: torn ({why}), set aside")
    return done


def _make_visible(folder: RunFolder, group: PlannedGroup) -> list[str]:
    """Finishes the renames of a group that was written to its last file."""
    last = last_attempt(folder, group)
    return [line for number in (last, last + 1) if number for line in _make_number_visible(folder, group, number)]


def _make_number_visible(folder: RunFolder, group: PlannedGroup, number: int) -> list[str]:
    finals = [folder.attempt_path(planned.cell, planned.block, number) for planned in group.attempts]
    hidden = [partial_of(final) for final in finals if not final.exists()]
    if not hidden or any(torn(partial) for partial in hidden):
        return []
    for partial in hidden:
        folder.commit_attempt(partial)
    return [f"{partial.parent.name}/{partial.name}: it was whole, and is made visible" for partial in hidden]


def torn(path: Path) -> str:
    """Why the folder at `path` holds no whole attempt, or nothing."""
    try:
        read_json(path / "attempt.json", AttemptRecord)
        for data in sorted(path.glob("*.parquet")):
            pq.read_metadata(data)
    except UsageError as error:
        return str(error)
    except (OSError, pa.ArrowException) as error:
        return str(error)
    return ""
