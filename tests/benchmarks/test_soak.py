"""The soak's short form, and how it judges what it read."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.soak import Reading, judged, page
from tests.processes import ROOT

BLOCKS = 3


def readings(**grown: int) -> list[Reading]:
    """Of fifty blocks in which nothing changes, but for what grows a little with each."""
    steady = Reading(block=1, seconds=8.0, attempts=4, memory_bytes=150_000_000, descriptors=20, threads=3, processes=4)
    return [
        replace(
            steady,
            block=number,
            seconds=8.0 * number,
            attempts=4 * number,
            **{name: getattr(steady, name) + number * step for name, step in grown.items()},
        )
        for number in range(1, 51)
    ]


def test_what_stays_as_it_is_is_flat() -> None:
    found = judged(readings())
    assert found["flat"]
    assert (found["attempts"], found["memory_growth"]) == (200, 0)
    assert (found["descriptors_early"], found["descriptors_late"]) == (20, 20)
    assert "nothing grew" in page(found)
    assert "150 and 150 MB (+0.0%; 10% are allowed), 20 and 20 descriptors, 3 and 3 threads" in page(found)


@pytest.mark.parametrize(
    "grown",
    [{"memory_bytes": 500_000}, {"memory_bytes": -500_000}, {"descriptors": 1}, {"threads": 1}, {"processes": 1}],
)
def test_what_grows_is_not(grown: dict[str, int]) -> None:
    found = judged(readings(**grown))
    assert not found["flat"]
    assert "something grew" in page(found)


def test_a_little_more_memory_is_allowed_and_what_the_first_block_imports_is_not_counted() -> None:
    assert judged(readings(memory_bytes=100_000))["flat"]
    first, *others = readings()
    assert judged([replace(first, memory_bytes=50_000_000, descriptors=5), *others])["flat"]


@pytest.mark.server
def test_a_short_soak(tmp_path: Path) -> None:
    """A process of its own, as the runner is what is measured."""
    out = tmp_path / "soak.json"
    command = [sys.executable, "-m", "benchmarks", "soak", "--rounds", str(BLOCKS), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=560)
    kept: dict[str, Any] = json.loads(out.read_text())["results"]
    assert done.returncode == 0, (kept, done.stderr)
    assert (kept["status"], kept["attempts"], kept["failed_attempts"]) == ("finished", 4 * BLOCKS, 0)
    assert kept["flat"]
    assert len({block["descriptors"] for block in kept["blocks"]}) == 1, kept["blocks"]
