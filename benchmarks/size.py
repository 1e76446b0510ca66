"""How large results may grow: time and peak memory of the commands that read 10,000 attempts and 1,000 nights.

The run folders and the nights are made up, and written by the code that writes real ones; each command is run as a user
runs it. Two runs of as many attempts: one of as many cells as a matrix may have, one of many blocks.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from runner.analysis.history import Night, add_night, night_of
from runner.errors import StackError
from runner.report.comparison import markdown_table
from runner.results.store import RunFolder
from runner.stacks.app import ROOT
from tests.synthetic import COUNT, Model, models, write_run

#: Requests of each attempt's count, and of its windows.
REQUESTS = 2_000
#: A night of this number and after it has the level of its ratios moved by so much.
CHANGES = ((0.4, 1.1), (0.7, 0.9))
#: Log-ratios of a night beside those of the next.
NIGHTLY_SPREAD = 0.03
FIRST_NIGHT = date(2024, 1, 1)


@dataclass(frozen=True)
class Shape:
    """A run of so many attempts."""

    cells: int
    blocks: int

    @property
    def attempts(self) -> int:
        return self.cells * self.blocks


SHAPES = (Shape(2_000, 5), Shape(100, 100))
NIGHTS = 1_000
#: The cells of the nightly run.
NIGHTLY = Shape(21, 3)


def measure(
    shapes: Sequence[Shape] = SHAPES,
    nights: int = NIGHTS,
    keep: Callable[[Mapping[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """A row a command; `keep` is handed all rows after each."""
    rows: list[dict[str, Any]] = []

    def add(what: str, on: str, arguments: Sequence[str | Path], made: Path | None = None) -> None:
        used = _used(arguments)
        printed = used.pop("printed_bytes")
        rows.append({"command": what, "on": on, **used, "made_bytes": made.stat().st_size if made else printed})
        if keep is not None:
            keep({"commands": rows})

    with tempfile.TemporaryDirectory(prefix="connbench-benchmark-") as name:
        for number, shape in enumerate(shapes):
            out = Path(name) / f"shape{number}"
            folder = write_large_run(out, shape)
            on = f"{shape.attempts:,} attempts ({shape.cells:,} cells, {shape.blocks} blocks)"
            add("table", on, ["table", folder.path, "--format", "json"])
            add("report", on, ["report", folder.path], folder.path / "report.html")
            site = Path(name) / f"site{number}"
            add("publish", on, ["publish", folder.path, "--out", site], site / "runs" / folder.path.name / "index.html")
        history = write_history(Path(name) / "nightly", nights)
        on = f"{nights:,} nights"
        add("history", on, ["history", "--history", history])
        site = Path(name) / "site"
        add("publish", f"{on} and one run", ["publish", history.parent, "--out", site], site / "history.html")
    return {"commands": rows}


def write_large_run(out: Path, shape: Shape) -> RunFolder:
    """A run of that shape: every attempt with its requests, looks at the database, host readings and a log."""
    folder = write_run(out, many_models(shape.cells), blocks=shape.blocks)
    requests, host = out / "requests.parquet", out / "host.parquet"
    _requests().to_parquet(requests, index=False)
    _host().to_parquet(host, index=False)
    log = "".join(f"[2025-11-21 12:00:{second:02}] [41] [INFO] Booting worker\n" for second in range(40))
    for path, _ in folder.attempts():
        (path / requests.name).write_bytes(requests.read_bytes())
        (path / host.name).write_bytes(host.read_bytes())
        (path / "logs" / "app.log").write_text(log, "utf-8")
    return folder


def many_models(cells: int) -> list[Model]:
    """The same few stacks again and again, under other names."""
    return list(
        islice(
            (replace(model, server=f"{model.server}{number}") for number in count(1) for model in models()),
            cells,
        )
    )


def write_history(out: Path, nights: int) -> Path:
    """A run, and that run's ratios as so many nights' with noise of their own and two changes."""
    night = night_of(write_run(out, many_models(NIGHTLY.cells), blocks=NIGHTLY.blocks))
    random = np.random.default_rng(1)
    for number in range(nights):
        level = float(np.prod([factor for share, factor in CHANGES if number >= share * nights]))
        add_night(out / "history", _varied(night, FIRST_NIGHT + timedelta(days=number), level, random))
    return out / "history"


def _varied(night: Night, day: date, level: float, random: np.random.Generator) -> Night:
    noise = np.exp(random.normal(0, NIGHTLY_SPREAD, len(night.ratios)))
    ratios = [
        ratio.model_copy(update={"value": round(ratio.value * level * float(own), 5)})
        for ratio, own in zip(night.ratios, noise, strict=True)
    ]
    return night.model_copy(update={"date": day.isoformat(), "run": f"run-of-{day}", "ratios": ratios})


def _requests() -> pd.DataFrame:
    random = np.random.default_rng(2)
    offsets = np.sort(random.uniform(0.8, 0.8 + COUNT, REQUESTS))
    service = random.lognormal(3, 0.4, REQUESTS)
    return pd.DataFrame(
        {
            "window": -1,
            "endpoint": pd.Categorical(["GET /products/"] * REQUESTS),
            "status": 200,
            "error": "",
            "worker": 41,
            "thread": 0,
            "offset": offsets,
            "intended": offsets,
            "service_ms": service,
            "app_ms": service / 2,
            "pool_ms": 0.0,
            "connect_ms": 0.1,
            "sql_ms": service / 5,
            "opened": 0,
        }
    )


def _host() -> pd.DataFrame:
    offsets = np.tile(np.arange(0.8, 4.8, 0.25), 3)
    components = pd.Categorical(np.repeat(["app", "database", "load"], len(offsets) // 3))
    return pd.DataFrame({"offset": offsets, "component": components, "cpu_seconds": offsets, "memory_bytes": 2e8})


def _used(arguments: Sequence[str | Path]) -> dict[str, Any]:
    """Seconds and peak memory of one `connbench` command, which has to succeed, and how much it printed."""
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as said:
        begun = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "runner", *map(str, arguments)], cwd=ROOT, stdout=printed, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            said.seek(0)
            told = said.read()[-2000:].decode(errors="replace")
            raise StackError(f"connbench {arguments[0]} ended with {process.returncode}:\n{told}")
        return {
            "seconds": seconds,
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "peak_memory_bytes": usage.ru_maxrss * 1024,
            "printed_bytes": printed.seek(0, os.SEEK_END),
        }


def page(results: Mapping[str, Any]) -> str:
    """The commands as a table."""
    rows = [
        {
            "command": f"connbench {row['command']}",
            "on": row["on"],
            "seconds": f"{row['seconds']:.1f}",
            "CPU seconds": f"{row['cpu_seconds']:.1f}",
            "peak memory, MB": f"{row['peak_memory_bytes'] / 1e6:,.0f}",
            "what it makes, MB": f"{row['made_bytes'] / 1e6:.1f}",
        }
        for row in results["commands"]
    ]
    return markdown_table(pd.DataFrame(rows))
