"""Which pool works with which driver and Django, as tried: `compatibility.json`, made by scripts/compatibility.py."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: How requests share a process.
MODES = ("one thread", "threads", "gevent")
TABLE = Path(__file__).with_name("compatibility.json")


@dataclass(frozen=True)
class Trial:
    """One pool with one driver on one Django; but for `one thread` six contexts use it at once.

    `django` is a series such as `5.2`, `mode` is one of `MODES`. `versions` are those of the packages, by name;
    `error` is what went wrong first, empty where nothing did.
    """

    kind: str
    driver: str
    django: str
    mode: str
    versions: Mapping[str, str]
    error: str

    @property
    def words(self) -> str:
        """What was tried: `geventpool with psycopg in threads (django 5.2.19, …)`."""
        packages = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"{self.kind} with {self.driver} in {self.mode} ({packages})"


@cache
def trials() -> tuple[Trial, ...]:
    """Every trial of the table."""
    return tuple(Trial(**row) for row in json.loads(TABLE.read_text()))


def why_not(kind: str, driver: str, mode: str, django: str) -> str | None:
    """What went wrong when this was tried on the series of this Django (`5.2.19` or `5.2`); None where it works."""
    for trial in trials():
        series = f"{django}.".startswith(f"{trial.django}.")
        if series and (trial.kind, trial.driver, trial.mode) == (kind, driver, mode):
            return f"{trial.words} was tried in vain: {trial.error}" if trial.error else None
    return None
