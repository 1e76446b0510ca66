"""Faults that the tests put in, counted for docs/reliability.md: `make counts` names the file that they go to."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Outcome:
    #: Whether the fault met a run: one that had just ended is none.
    happened: bool = True
    #: Files of finished attempts that are not there any more, or not as they were.
    lost: int = 0
    #: Processes, folders and journals that the run has left.
    left: int = 0


@contextmanager
def injected(fault: str, told: str = "") -> Iterator[Outcome]:
    """One fault; what is inside checks that nothing was lost and nothing left behind, so it survived if it passes."""
    outcome, survived = Outcome(), False
    try:
        yield outcome
        survived = True
    finally:
        if outcome.happened:
            _note(fault=fault, told=told, survived=survived, lost=outcome.lost, left=outcome.left)


def left_behind(things: int) -> None:
    """What is found of a test's runs when all of them are over."""
    if things:
        _note(left=things)


def _note(**row: object) -> None:
    if path := os.environ.get("FAULTS"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
