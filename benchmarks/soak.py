"""What a long haul costs the runner: its memory, descriptors and threads after each block of one run of many attempts.

After a first tenth, in which everything has been imported and used once, the memory is to stay within a tenth of what
it was then, and descriptors and threads are to stay as many: what grows attempt by attempt ends a nightly run.
"""

import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from runner.bench import Options, run_record, this_machine
from runner.matrix.expansion import expand
from runner.matrix.reading import read_matrix
from runner.plan import make_plan
from runner.progress import reporter
from runner.results.store import RunFolder
from runner.run import Run
from runner.site import NativeSite
from runner.stacks.app import load_app
from runner.turn import own_turn

MATRIX = Path(__file__).with_name("soak.yaml")
#: Attempts of the long form; a block has four.
ATTEMPTS = 500
#: How far the memory may be from what it was after the first blocks.
FLAT = 0.10
#: The share of the blocks that come first, and as many come last.
ENDS = 0.1
#: A block takes longer than so many seconds.
_SHORTEST_BLOCK = 2.0
#: So often, in blocks, is what was found handed on before the end.
_KEEP_EVERY = 25


@dataclass(frozen=True)
class Reading:
    """The runner after a block, everything of which has been taken down."""

    block: int
    seconds: float
    attempts: int
    memory_bytes: int
    descriptors: int
    threads: int
    #: Processes of its own: servers, samplers and their guard, which are the same after every block.
    processes: int


def measure(
    rounds: int | None = None,
    hours: float = 0.0,
    keep: Callable[[Mapping[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Runs `rounds` blocks, or as many as make ATTEMPTS, and goes on until `hours` are over."""
    matrix = read_matrix(MATRIX)
    expansion = expand(matrix)
    wanted = rounds or -(-ATTEMPTS // len(expansion.cells))
    plan = make_plan(expansion, matrix, seed=1, blocks=wanted + int(hours * 3600 / _SHORTEST_BLOCK))
    site = NativeSite()
    site.require(plan)
    messages = Console(stderr=True)
    environments = site.environments(plan.cells.values(), messages)
    readings: list[Reading] = []
    with tempfile.TemporaryDirectory(prefix="connbench-benchmark-") as out, own_turn(wait=True, say=messages.print):
        options = Options(matrix=MATRIX, out=Path(out), command="python -m benchmarks soak")
        folder = RunFolder.create(
            Path(out), run_record(options, matrix, expansion, plan, this_machine(plan, environments, site))
        )
        begun = time.monotonic()

        def enough(block: int) -> bool:
            seconds = time.monotonic() - begun
            readings.append(_read(block, seconds, block * len(plan.cells)))
            if keep is not None and block % _KEEP_EVERY == 0:
                keep(judged(readings))
            return block >= wanted and seconds >= hours * 3600

        apps = dict.fromkeys(plan.cells, load_app(matrix.app))
        with reporter(messages, plan.planned_seconds) as progress:
            end = Run(plan, apps, environments, folder, progress, site.provider).execute(enough)
        failed = sum(record.verdict.status != "ok" for _, record in folder.attempts())
    return {**judged(readings), "status": end.status, "failed_attempts": failed}


def _read(block: int, seconds: float, attempts: int) -> Reading:
    # What Python has yet to collect is no leak.
    gc.collect()
    me = psutil.Process()
    return Reading(
        block=block,
        seconds=round(seconds, 1),
        attempts=attempts,
        memory_bytes=me.memory_info().rss,
        descriptors=me.num_fds(),
        threads=me.num_threads(),
        processes=_descendants(me),
    )


def _descendants(process: psutil.Process) -> int:
    found = 0
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            # A backend of the harness's own may come and go: only what the runner itself has started is counted.
            found += child.ppid() == process.pid and child.status() != psutil.STATUS_ZOMBIE
    return found


def judged(readings: Sequence[Reading]) -> dict[str, Any]:
    """The first and the last tenth of the blocks side by side; `flat` says that nothing grew."""
    few = max(1, round(ENDS * len(readings)))
    # The first block imports and builds what all others use.
    settled = readings[1:] if len(readings) > 1 else readings
    first, last = settled[:few], settled[-few:]
    early, late = (statistics.median(one.memory_bytes for one in part) for part in (first, last))
    counts = {
        name: (min(getattr(one, name) for one in first), min(getattr(one, name) for one in last))
        for name in ("descriptors", "threads", "processes")
    }
    return {
        "attempts": readings[-1].attempts,
        "hours": readings[-1].seconds / 3600,
        "memory_early_bytes": int(early),
        "memory_late_bytes": int(late),
        "memory_growth": late / early - 1,
        **{f"{name}_early": early for name, (early, _) in counts.items()},
        **{f"{name}_late": late for name, (_, late) in counts.items()},
        "flat": abs(late / early - 1) <= FLAT and all(early == late for early, late in counts.values()),
        "blocks": [asdict(one) for one in readings],
    }


def page(results: Mapping[str, Any]) -> str:
    """The verdict in words; the course of every block is in the JSON file."""
    early, late = (results[f"memory_{part}_bytes"] / 1e6 for part in ("early", "late"))
    counts = ", ".join(
        f"{results[f'{name}_early']} and {results[f'{name}_late']} {name}"
        for name in ("descriptors", "threads", "processes")
    )
    verdict = "nothing grew" if results["flat"] else "**something grew**"
    failed = f"; {results['failed_attempts']} attempts failed" if results.get("failed_attempts") else ""
    return (
        f"{results['attempts']:,} attempts of one run in {results['hours']:.2f} hours{failed}: {verdict}. In the first "
        f"and in the last tenth of its blocks the runner had {early:.0f} and {late:.0f} MB "
        f"({results['memory_growth']:+.1%}; {FLAT:.0%} are allowed), {counts} of its own."
    )
