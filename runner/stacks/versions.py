"""Which versions an app environment is made of: a locked set of packages, and what is asked to differ from it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, ConfigDict, model_validator

from runner.models import Strict

#: The interpreter is asked for like a package.
PYTHON = "python"
#: The distribution's own, which what is compiled for the system is bound to.
SYSTEM_PYTHON = Path("/usr/bin/python3")

#: `5.2` is its newest patch release, `5.2.3` exactly that one.
_VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc|\.dev|\.post)\d+)?")
_SERIES = re.compile(r"\d+(\.\d+)?")
_PACKAGE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def _known_form(version: object) -> object:
    if isinstance(version, int | float):
        raise ValueError(
            f'found {version}, allowed: a version in quotes, such as "5.2"; without them 5.10 would be 5.1'
        )
    if isinstance(version, str) and not _VERSION.fullmatch(version):
        raise ValueError(f'found {version!r}, allowed: a version such as "5.2" (its newest release) or "5.2.3"')
    return version


class VersionsSpec(Strict):
    """Package to version, where it is not to be the locked one; `python` is the interpreter."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[str, BeforeValidator(_known_form)]]

    @model_validator(mode="after")
    def _names_packages(self) -> Self:
        for name in self.by_package:
            if not _PACKAGE.fullmatch(name):
                raise ValueError(f"found {name!r}, allowed: a package's name in lower case, such as django, or python")
        return self

    @property
    def by_package(self) -> Mapping[str, str]:
        return self.__pydantic_extra__


@dataclass(frozen=True)
class Recipe:
    """What an app environment is made of: a locked set, and the versions that differ from it, sorted by name."""

    base: str
    versions: tuple[tuple[str, str], ...] = ()
    #: The system's own interpreter, whichever version it is.
    system_python: bool = False

    @property
    def name(self) -> str:
        """`psycopg3`, `psycopg3+django-5.2`: names folders and the run's versions."""
        system = ["system-python"] if self.system_python else []
        return "+".join([self.base, *system, *(f"{package}-{version}" for package, version in self.versions)])

    @property
    def packages(self) -> tuple[tuple[str, str], ...]:
        """The versions but for the interpreter's."""
        return tuple((package, version) for package, version in self.versions if package != PYTHON)


def recipe(base: str, versions: Mapping[str, str], *, system_python: bool = False) -> Recipe:
    """A locked set with these versions on top."""
    return Recipe(base, tuple(sorted(versions.items())), system_python)


def is_series(version: str) -> bool:
    """Whether it stands for the newest release that begins so, as `5.2` does."""
    return _SERIES.fullmatch(version) is not None


def exactly(version: str) -> str:
    """A version that stands for nothing but itself: `5.2.0` for the first of the series 5.2."""
    return version + ".0" * (2 - version.count(".")) if is_series(version) else version


def override(package: str, version: str) -> str:
    """As a requirement, `package` with its extras: one or two numbers stand for the newest release that begins so."""
    return f"{package}=={version}.*" if is_series(version) else f"{package}=={version}"
