"""Which Python an app's packages exist for, where the runner's own will not do."""

import sys
from collections.abc import Callable
from typing import TypeVar

from runner.errors import EnvironmentUnfit

#: Versions that are looked for, the oldest first.
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")

T = TypeVar("T")


class PythonUnfit(EnvironmentUnfit):
    """The packages exist for another Python alone."""


class PythonMissing(EnvironmentUnfit):
    """This machine has no such Python."""


def under_fitting_python(build: Callable[[str], T]) -> tuple[str, T]:
    """What `build` makes under the runner's own Python, asked for as "", or under the next newer one that will do.

    EnvironmentUnfit where the packages exist for none of those that this machine has; the missing ones are named.
    """
    try:
        return "", build("")
    except PythonUnfit as error:
        first = error
    missing = []
    for python in PYTHONS:
        if tuple(map(int, python.split("."))) <= sys.version_info[:2]:
            continue
        try:
            return python, build(python)
        except PythonMissing:
            missing.append(python)
        except PythonUnfit:
            continue
    named = f"; not on this machine: Python {', '.join(missing)}" if missing else ""
    raise EnvironmentUnfit(f"{first}\nThe newer ones that this machine has will not do either{named}")
