"""What the recorder wrote, as a frame. The runner's side of `runner.load.recorder`."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from runner.errors import StackError
from runner.load.recorder import RECORD

#: The record of `runner.load.recorder`, field by field.
LAYOUT = np.dtype(
    [
        ("window", "<i2"),
        ("endpoint", "<i2"),
        ("status", "<i2"),
        ("error", "<i2"),
        ("worker", "<i4"),
        ("thread", "<u8"),
        ("offset", "<f8"),
        ("intended", "<f8"),
        ("service_ms", "<f4"),
        ("app_ms", "<f4"),
        ("pool_ms", "<f4"),
        ("connect_ms", "<f4"),
        ("sql_ms", "<f4"),
        ("opened", "<i2"),
    ]
)
assert LAYOUT.itemsize == RECORD.size


def read_records(paths: Sequence[Path], clock_zero: float) -> tuple[pd.DataFrame, dict[str, str]]:
    """Every request of an attempt, from the records of all its drivers, and an example text for each kind of error.

    Columns: `window` (-1 is the count, below it are the steps of a search), `endpoint`, `status`, `error` (empty for
    success), `worker`, `thread` (a number within its worker), `offset` and `intended` (seconds since `clock_zero`),
    `service_ms`, of it `app_ms`, and of that `pool_ms`, `connect_ms` and `sql_ms`; `opened` (connections). What the
    app did not say is -1.
    """
    parts = [_read(path, clock_zero) for path in paths] or [(_frame(b"", [], [], clock_zero), {})]
    examples = {kind: example for _, found in reversed(parts) for kind, example in found.items()}
    frame = pd.concat([part for part, _ in parts], ignore_index=True)
    for name in ("endpoint", "error"):
        # Drivers that have not met the same names have categories that differ.
        frame[name] = union_categoricals([part[name] for part, _ in parts])
    frame["thread"] = frame.groupby("worker")["thread"].transform(lambda idents: pd.factorize(idents)[0])
    return frame, examples


def _read(path: Path, clock_zero: float) -> tuple[pd.DataFrame, dict[str, str]]:
    told = path.with_suffix(".json")
    if not told.exists():  # no load ever ran
        return _frame(b"", [], [], clock_zero), {}
    raw = path.read_bytes()
    if len(raw) % LAYOUT.itemsize:
        raise StackError(f"{path.name} ends in the middle of a record")
    names = json.loads(told.read_text())
    examples = dict(zip(names["errors"], names["examples"], strict=True))
    # What a host with a clock of its own has sent says how far that is ahead.
    zero = clock_zero + names.get("clock_offset", 0.0)
    return _frame(raw, names["endpoints"], names["errors"], zero), examples


def _frame(raw: bytes, endpoints: list[str], errors: list[str], clock_zero: float) -> pd.DataFrame:
    records = np.frombuffer(raw, LAYOUT)
    frame = pd.DataFrame({name: records[name] for name in LAYOUT.names or ()})
    frame["offset"] -= clock_zero
    frame["intended"] -= clock_zero
    frame["endpoint"] = pd.Categorical.from_codes(records["endpoint"], pd.Index(endpoints, dtype=str))
    # -1 is "no error" and becomes the first category, the empty string.
    frame["error"] = pd.Categorical.from_codes(records["error"] + 1, pd.Index(["", *errors]))
    return frame
