"""Which Python is taken where the runner's own will not do."""

import sys
from collections.abc import Callable

import pytest

from runner.errors import EnvironmentUnfit
from runner.stacks import interpreters
from runner.stacks.interpreters import PythonMissing, PythonUnfit, under_fitting_python

OLDER, OWN, *NEWER = (f"3.{sys.version_info.minor + step}" for step in range(-1, 4))


@pytest.fixture(autouse=True)
def _pythons_about_the_runners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever runs the tests, there are newer ones."""
    monkeypatch.setattr(interpreters, "PYTHONS", (OLDER, OWN, *NEWER))


def machine(*, fits: str, missing: str = "none") -> tuple[list[str], Callable[[str], str]]:
    """What is asked for, and a build that succeeds under one Python alone."""
    asked: list[str] = []

    def build(python: str) -> str:
        asked.append(python)
        if python == missing:
            raise PythonMissing(f"there is no Python {python}")
        if python != fits:
            raise PythonUnfit("locking some+django-6.1 failed: does not satisfy Python>=3.12")
        return f"built under {python}"

    return asked, build


def test_the_runners_own_goes_first() -> None:
    asked, build = machine(fits="")
    assert under_fitting_python(build) == ("", "built under ")
    assert asked == [""]


def test_then_the_next_newer_one_that_is_here_and_will_do() -> None:
    asked, build = machine(fits=NEWER[1], missing=NEWER[0])
    assert under_fitting_python(build) == (NEWER[1], f"built under {NEWER[1]}")
    assert asked == ["", NEWER[0], NEWER[1]]


def test_where_none_will_do_the_first_reason_stands_and_the_missing_are_named() -> None:
    asked, build = machine(fits="2.7", missing=NEWER[0])
    with pytest.raises(EnvironmentUnfit, match=rf"(?s)django-6\.1 failed.*not on this machine: Python {NEWER[0]}$"):
        under_fitting_python(build)
    assert asked == ["", *NEWER]


def test_another_reason_ends_the_search() -> None:
    def build(_: str) -> str:
        raise EnvironmentUnfit("Python.h: No such file")

    with pytest.raises(EnvironmentUnfit, match=r"Python\.h") as raised:
        under_fitting_python(build)
    assert type(raised.value) is EnvironmentUnfit
