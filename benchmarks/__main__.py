"""`python -m benchmarks [NAME…] [--rounds N] [--out FILE]`: measures, and keeps what it found as JSON.

`python -m benchmarks accuracy` makes docs/accuracy.md of what was kept; it measures nothing.
"""

import argparse
import inspect
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import accuracy
from benchmarks.keeping import keep
from benchmarks.registry import BENCHMARKS

#: Those that are measured unless others are named: a few minutes in all.
SHORT = ("recorder", "generator", "sampler", "timing", "overhead")


def measure(name: str, rounds: int | None, hours: float | None, out: Path | None, command: str) -> bool:
    """Measures one and keeps it, one that takes long from the first result on; whether it found nothing wrong."""

    def keep_now(results: Mapping[str, Any]) -> None:
        keep(name, results, command, out)

    offered = {"rounds": rounds, "hours": hours, "keep": keep_now}
    taken = inspect.signature(BENCHMARKS[name].measure).parameters
    results = BENCHMARKS[name].measure(**{key: value for key, value in offered.items() if key in taken and value})
    print(json.dumps(results, indent=1))
    keep_now(results)
    return bool(results.get("flat", True))


def main(arguments: Sequence[str]) -> None:
    names = [*BENCHMARKS, "accuracy"]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(names)}; the short ones unless told")
    parser.add_argument("--rounds", type=int, help="how often, where a benchmark repeats itself")
    parser.add_argument("--hours", type=float, help="how long at least, where a benchmark is a long haul")
    parser.add_argument("--out", type=Path, help="where it is kept: benchmarks/<name>.json unless told")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in names]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(names)}")
    if chosen.rounds is not None and chosen.rounds < 1:
        parser.error("--rounds: 1 or more")
    if chosen.hours is not None and not 0 < chosen.hours < 1000:
        parser.error("--hours: more than 0 and less than 1,000")
    if chosen.out and len(chosen.names) != 1:
        parser.error("--out is for one benchmark")
    command = shlex.join(["python", "-m", "benchmarks", *arguments])
    failed = False
    for name in chosen.names or SHORT:
        if name == "accuracy":
            accuracy.write_page()
        else:
            failed |= not measure(name, chosen.rounds, chosen.hours, chosen.out, command)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
