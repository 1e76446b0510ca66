"""Which versions an app environment is made of: a locked set of packages, and what is asked to differ from it."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, ConfigDict, model_validator

from runner.models import Strict
from runner.stacks.dependencies import AppPackages

#: The interpreter is asked for like a package.
PYTHON = "python"
#: The distribution's own, which what is compiled for the system is bound to.
SYSTEM_PYTHON = Path("/usr/bin/python3")

#: In a version's place: the branch on which a package is developed, of those that come whole from their repository.
MAIN = "main"
DEVELOPED = {
    "django": "git+https://github.com/django/django@main",
    "gunicorn": "git+https://github.com/benoitc/gunicorn@master",
    "mysqlclient": "git+https://github.com/PyMySQL/mysqlclient@main",
    "pymysql": "git+https://github.com/PyMySQL/PyMySQL@main",
}

#: `5.2` is its newest patch release, `5.2.3` exactly that one.
_VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc|\.dev|\.post)\d+)?")
#: A branch, tag or commit of a git repository, here or elsewhere, perhaps with the package in a folder of it.
_SOURCE = re.compile(r"(?P<url>git\+(file|https|ssh)://\S+)@(?P<ref>[\w.+/-]+)(?P<part>#subdirectory=[\w./-]+)?")
ALLOWED = (
    'a version such as "5.2" (its newest release) or "5.2.3", "main" (of django and some others), or a git reference '
    "such as git+file:///home/me/django@main"
)
_SERIES = re.compile(r"\d+(\.\d+)?")
_PACKAGE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def _known_form(version: object) -> object:
    if isinstance(version, int | float):
        raise ValueError(
            f'found {version}, allowed: a version in quotes, such as "5.2"; without them 5.10 would be 5.1'
        )
    if isinstance(version, str) and version != MAIN and not is_version(version):
        raise ValueError(f"found {version!r}, allowed: {ALLOWED}")
    return version


def is_version(text: str) -> bool:
    """Whether a package can be had by it."""
    return _VERSION.fullmatch(text) is not None or parse_source(text) is not None


def spelt_out(package: str, version: str) -> str:
    """`main` as the git reference that it stands for, any other as it is; ValueError where nobody knows the branch."""
    if version != MAIN:
        return version
    if package not in DEVELOPED:
        raise ValueError(
            f"{package}: found {MAIN!r}, which is known of {', '.join(DEVELOPED)} alone: write git+https://…@{MAIN}"
        )
    return DEVELOPED[package]


@dataclass(frozen=True)
class Source:
    """`git+file:///home/me/django@main`: a repository, a reference in it, and `#subdirectory=…` or nothing."""

    url: str
    reference: str
    part: str

    @property
    def name(self) -> str:
        """Short, and another one's for no other: it names folders."""
        repository = self.url.rstrip("/").rpartition("/")[2].removesuffix(".git")
        readable = re.sub(r"[^A-Za-z0-9.]+", "-", f"{repository}-{self.reference}")[:48]
        digest = hashlib.sha256(f"{self.url}@{self.reference}{self.part}".encode()).hexdigest()[:8]
        return f"{readable}-{digest}"

    def at(self, commit: str) -> str:
        """The same with a commit in the reference's place."""
        return f"{self.url}@{commit}{self.part}"


def parse_source(version: str) -> Source | None:
    """None for a released version."""
    match = _SOURCE.fullmatch(version)
    return None if match is None else Source(match["url"], match["ref"], match["part"] or "")


class VersionsSpec(Strict):
    """Package to version, where it is not to be the locked one; `python` is the interpreter."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[str, BeforeValidator(_known_form)]]

    @model_validator(mode="after")
    def _names_packages(self) -> Self:
        for name, version in self.__pydantic_extra__.items():
            spelt_out(name, version)
            if not _PACKAGE.fullmatch(name):
                raise ValueError(f"found {name!r}, allowed: a package's name in lower case, such as django, or python")
        return self

    @property
    def by_package(self) -> Mapping[str, str]:
        return {name: spelt_out(name, version) for name, version in self.__pydantic_extra__.items()}


@dataclass(frozen=True)
class Recipe:
    """What an app environment is made of: a locked set, and the versions that differ from it, sorted by name."""

    base: str
    versions: tuple[tuple[str, str], ...] = ()
    #: The system's own interpreter, whichever version it is.
    system_python: bool = False
    #: What an app asks for that brings packages of its own.
    app: AppPackages | None = None

    @property
    def name(self) -> str:
        """`psycopg3`, `psycopg3+django-5.2`, `psycopg3+shop`: names locks and the run's versions."""
        return self._name([self.app.name] if self.app else [])

    @property
    def shared_name(self) -> str:
        """The same whatever the app is called: two that ask for the same packages have one environment."""
        return self._name(["app"] if self.app else [])

    def _name(self, app: Sequence[str]) -> str:
        parts = [*(["system-python"] if self.system_python else []), *app]
        return "+".join([self.base, *parts, *(f"{package}-{_short(version)}" for package, version in self.versions)])

    @property
    def packages(self) -> tuple[tuple[str, str], ...]:
        """The versions but for the interpreter's."""
        return tuple((package, version) for package, version in self.versions if package != PYTHON)


def _short(version: str) -> str:
    source = parse_source(version)
    return version if source is None else source.name


def recipe(
    base: str, versions: Mapping[str, str], *, system_python: bool = False, app: AppPackages | None = None
) -> Recipe:
    """A locked set with these versions, and an app's own packages, on top."""
    return Recipe(base, tuple(sorted(versions.items())), system_python, app)


def is_series(version: str) -> bool:
    """Whether it stands for the newest release that begins so, as `5.2` does."""
    return _SERIES.fullmatch(version) is not None


def exactly(version: str) -> str:
    """A version that stands for nothing but itself: `5.2.0` for the first of the series 5.2."""
    return version + ".0" * (2 - version.count(".")) if is_series(version) else version


def override(package: str, version: str) -> str:
    """As a requirement, `package` with its extras: one or two numbers stand for the newest release that begins so."""
    if parse_source(version) is not None:
        return f"{package} @ {version}"
    return f"{package}=={version}.*" if is_series(version) else f"{package}=={version}"
