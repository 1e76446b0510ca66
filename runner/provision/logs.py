"""What the end of a log tells."""

import re
from pathlib import Path


def log_tail(path: Path, lines: int = 20) -> str:
    """The last lines of a log, at most 16 KiB of them."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 16384))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no log)"


# As Python ends a traceback: the exception's name at the beginning of a line.
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Configured|NotFound|Timeout)\b.*", re.MULTILINE)


def log_cause(path: Path) -> str:
    """` (ImportError: …)`: the last exception in a log's end, or nothing where there is none."""
    found = _EXCEPTION.findall(log_tail(path, 200))
    return f" ({found[-1].strip()})" if found else ""
