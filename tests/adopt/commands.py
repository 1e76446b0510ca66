"""`connbench` as a user calls it, in a folder of its own."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.processes import connbench


@dataclass(frozen=True)
class Done:
    code: int
    text: str


def call(*arguments: str | Path, folder: Path, limit: float = 1200) -> Done:
    """Runs one command to its end; what it printed on either stream, times and temporary ports aside."""
    log = folder / f"{arguments[0]}.log"
    log.unlink(missing_ok=True)
    code = connbench(list(map(str, arguments)), log).wait(limit)
    return Done(code, re.sub(r"\s+", " ", log.read_text()))
