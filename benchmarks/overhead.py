"""Overhead of an attempt by phase, from the latest run: what went to anything but measuring."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from runner.results.schema import AttemptRecord
from runner.results.store import open_run

LATEST = Path("results/latest")
MEASURED = ("count", "idle", "window", "search", "drive", "command", "fault")


def overhead_by_phase(attempts: Sequence[AttemptRecord]) -> pd.DataFrame:
    """Seconds an attempt by phase: median, highest, and their sum over the run."""
    rows = [
        {"phase": phase.name, "seconds": phase.seconds, "attempt": (attempt.cell, attempt.block)}
        for attempt in attempts
        for phase in attempt.phases
    ]
    frame = pd.DataFrame(rows)
    by_attempt = frame.groupby(["phase", "attempt"])["seconds"].sum().reset_index()
    return by_attempt.groupby("phase")["seconds"].agg(["median", "max", "sum"])


def measure() -> dict[str, Any]:
    """The phases, and the wall time of an attempt beyond the phases that measure, the databases' set-up left out."""
    folder = open_run(LATEST)
    attempts = [record for _, record in folder.attempts()]
    by_phase = overhead_by_phase(attempts).reset_index().rename(columns={"sum": "total"})
    found: dict[str, Any] = {"run": folder.path.name, "attempts": len(attempts), "phases": by_phase.to_dict("records")}
    if (end := folder.end()) is not None and end.wall_seconds is not None:
        measured = sum(phase.seconds for attempt in attempts for phase in attempt.phases if phase.name in MEASURED)
        beyond = end.wall_seconds - end.time_spent.get("set-up", 0.0) - measured
        found["seconds_beyond_measuring"] = beyond / len(attempts)
    return found
