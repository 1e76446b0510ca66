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


@contextmanager
def injected(fault: str, told: str = "") -> Iterator[Outcome]:
    """One fault; what is inside checks that nothing was lost and nothing left behind, so it survived if it passes."""
    outcome, survived = Outcome(), False
    try:
        yield outcome
        survived = True
    finally:
        path = os.environ.get("FAULTS")
        if path and outcome.happened:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"fault": fault, "told": told, "survived": survived}) + "\n")
