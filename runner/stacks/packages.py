"""The locked sets of packages that an app can run in, and which of them has what a stack needs."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

LOCKS = Path(__file__).resolve().parents[2] / "requirements"

#: In the order of preference: `requirements/app-<name>.txt` of each. Django takes psycopg 3 wherever it can be
#: imported, so a set has either that or psycopg2.
ENVIRONMENTS = ("psycopg3", "psycopg2", "eventlet", "postgrespool2")

_PINNED = re.compile(r"^([a-z0-9-]+)==", re.MULTILINE)


@cache
def locked_packages(environment: str) -> frozenset[str]:
    """The names of all packages in an environment, as locked."""
    return frozenset(_PINNED.findall((LOCKS / f"app-{environment}.txt").read_text()))


@cache
def locked_version(environment: str, package: str) -> str:
    """The version of a package that an environment has, as locked."""
    text = (LOCKS / f"app-{environment}.txt").read_text()
    found = re.search(rf"^{re.escape(package)}==([^ ;]+)", text, re.MULTILINE)
    assert found is not None, f"{package} is not in requirements/app-{environment}.txt"
    return found[1]


def environment_with(packages: Iterable[str]) -> str | None:
    """The first environment that has all of these; None if there is none."""
    wanted = set(packages)
    return next((name for name in ENVIRONMENTS if wanted <= locked_packages(name)), None)
