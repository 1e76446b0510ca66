"""Overhead of an attempt by phase, from a run that is already there: what went to anything but measuring."""

from pathlib import Path

import pandas as pd

from runner.matrix.spec import LoadSpec
from runner.results.schema import AttemptRecord
from runner.results.store import open_run


def overhead_by_phase(attempts: list[AttemptRecord]) -> pd.DataFrame:
    """Seconds an attempt by phase: median, highest, and their sum over the run."""
    rows = [
        {"phase": phase.name, "seconds": phase.seconds, "attempt": (attempt.cell, attempt.block)}
        for attempt in attempts
        for phase in attempt.phases
    ]
    frame = pd.DataFrame(rows)
    by_attempt = frame.groupby(["phase", "attempt"])["seconds"].sum().reset_index()
    return by_attempt.groupby("phase")["seconds"].agg(["median", "max", "sum"])


def main(run: Path = Path("results/latest")) -> None:
    """Prints the phases, and what an attempt cost beyond count, idle and windows in wall time."""
    folder = open_run(run)
    attempts = [record for _, record in folder.attempts()]
    end = folder.end()
    print(overhead_by_phase(attempts).round(3).to_string())
    if end is None:
        print("the run was cut off: no wall time")
        return
    asked = {cell.id: LoadSpec.model_validate(cell.params["load"]) for cell in folder.run().cells}
    loads = [asked[attempt.cell] for attempt in attempts]
    planned = sum(load.count + load.idle + load.windows * (load.window + load.lead_in) for load in loads)
    beyond = (end.wall_seconds - end.time_spent.get("set-up", 0.0) - planned) / len(attempts)
    print(f"beyond count, idle and windows: {beyond:.2f} s an attempt, over {len(attempts)} attempts")
