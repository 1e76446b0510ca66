"""Which packages a project asks for, read from the files in which Python projects say so.

Two kinds: what it wants (pyproject.toml, Pipfile, requirements files) and what was locked (uv.lock, poetry.lock,
Pipfile.lock). A lock only says which version a wanted package comes in: it names packages of other systems and of
development too. A project that writes none of them has what its virtual environment (pyvenv.cfg) has.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from runner.errors import UsageError
from runner.stacks.declared import of_pipfile, of_pyproject
from runner.stacks.locks import of_lock, of_pipfile_lock
from runner.stacks.origins import checked, refuse_archive, refuse_index

_CONTINUED = re.compile(r"\\\r?\n")
_COMMENT = re.compile(r"(^|\s)#.*$")
#: Of pip's options, those that say what is installed or from where.
_INCLUDED = re.compile(r"(-r|--requirement|-c|--constraint)(?:\s+|=)?(.+)")
_EDITABLE = re.compile(r"(?:-e|--editable)(?:\s+|=)(.+)")
_INDEX = re.compile(r"(?:-i|--index-url|--extra-index-url|-f|--find-links)(?:\s+|=)(.+)")
#: What stands behind a requirement in a requirements file.
_OPTIONS = re.compile(r"\s--(hash|global-option|config-settings)\b.*$")
_ADDRESS = re.compile(r"[\w+.-]+://")
#: In the root of every virtual environment (PEP 405), and the tools that come with one.
VIRTUAL_ENVIRONMENT = "pyvenv.cfg"
_ITS_TOOLS = frozenset({"pip", "wheel"})


@dataclass(frozen=True)
class AppPackages:
    """What an app's environment has beside servers and drivers: requirements as pip reads them, sorted.

    `name` is the app's, for folders; `constraints` bind a version without asking for the package.
    """

    name: str
    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()


def read_packages(name: str, files: Sequence[Path]) -> AppPackages:
    """UsageError, with the file, where one is missing, cannot be read, or has packages from where none are taken."""
    wanted: list[str] = []
    bound: list[str] = []
    for path in files:
        try:
            for text, binds in _read(path):
                (bound if binds else wanted).append(text)
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise UsageError(f"{path}: the dependencies cannot be read: {error}") from error
    # A commit is no version that could bind: the package is taken at it.
    commits = {str(canonicalize_name(one.name)): one.url for one in map(Requirement, bound) if one.url}
    versions = {text for text in bound if Requirement(text).url is None}
    return AppPackages(name, tuple(sorted({_at(text, commits) for text in wanted})), tuple(sorted(versions)))


def _at(text: str, commits: Mapping[str, str]) -> str:
    """A requirement with an address, at the commit that was locked."""
    requirement = Requirement(text)
    if requirement.url is not None:
        requirement.url = commits.get(str(canonicalize_name(requirement.name)), requirement.url)
    return str(requirement)


def package_name(requirement: str) -> str:
    """The canonical name of what a requirement asks for; empty where it names none (an address, say)."""
    try:
        return str(canonicalize_name(Requirement(requirement).name))
    except InvalidRequirement:
        return ""


def _read(path: Path) -> Iterator[tuple[str, bool]]:
    """Each requirement, and whether it only binds a version."""
    readers: Mapping[str, Callable[[Path], Iterator[str]]] = {
        "pyproject.toml": of_pyproject,
        "Pipfile": of_pipfile,
        "Pipfile.lock": of_pipfile_lock,
        VIRTUAL_ENVIRONMENT: _of_virtual_environment,
    }
    locked = path.name.endswith(".lock")
    if locked or path.name in readers:
        for text in readers.get(path.name, of_lock)(path):
            yield text, locked
    else:
        yield from _of_requirements_file(path, set(), binds=False)


def _of_requirements_file(path: Path, seen: set[tuple[Path, bool]], *, binds: bool) -> Iterator[tuple[str, bool]]:
    """One file and what it includes; a package of the project's own folder (`-e .`) is there without being built.

    `seen` are those that were read for the same, since two may include each other.
    https://pip.pypa.io/en/stable/reference/requirements-file-format/
    """
    if (path.resolve(), binds) in seen:
        return
    seen.add((path.resolve(), binds))
    for line in _CONTINUED.sub(" ", path.read_text(encoding="utf-8-sig")).splitlines():
        text = _OPTIONS.sub("", _COMMENT.sub("", line)).strip()
        if included := _INCLUDED.match(text):
            file = path.parent / included[2].strip().strip("\"'")
            yield from _of_requirements_file(file, seen, binds=binds or included[1] in ("-c", "--constraint"))
            continue
        if index := _INDEX.match(text):
            refuse_index(index[1].strip())
        if editable := _EDITABLE.match(text):
            text = editable[1].strip()
            text = text if _ADDRESS.search(text) else "."
        if text and not text.startswith("-"):
            refuse_archive(text)
            if not text.startswith((".", "/")):
                yield _requirement(text), binds


def _requirement(text: str) -> str:
    """One line; an address may have the package's name in it (`#egg=`), as pip's older spelling has it."""
    if _ADDRESS.match(text) is None:
        return checked(text)
    address, _, marker = text.partition(" ;")
    url, _, fragment = address.strip().partition("#")
    given = dict(one.split("=", 1) for one in fragment.split("&") if "=" in one)
    if "egg" not in given:
        raise ValueError(f"{text!r} does not say which package it is: write `NAME @ {url}`")
    part = f"#subdirectory={given['subdirectory']}" if "subdirectory" in given else ""
    return checked(f"{given['egg']} @ {url}{part}{f' ; {marker}' if marker else ''}")


def _of_virtual_environment(path: Path) -> Iterator[str]:
    """What is installed, in its versions; a project of the disk, as `-e .` leaves it, is there without being built."""
    path.read_text(encoding="utf-8")
    for site in path.parent.glob("lib/python*/site-packages"):
        for found in distributions(path=[str(site)]):
            # Of a package that pip removed, or was removing, a folder may be left, in which no metadata are.
            if not any(found.read_text(metadata) for metadata in ("METADATA", "PKG-INFO", "")):
                continue
            if found.name.lower() not in _ITS_TOOLS and (requirement := _installed(found)):
                yield checked(requirement)


def _installed(found: Distribution) -> str:
    """https://packaging.python.org/en/latest/specifications/direct-url/"""
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    if "dir_info" in origin:
        return ""
    part = f"#subdirectory={origin['subdirectory']}" if origin.get("subdirectory") else ""
    if commit := origin.get("vcs_info", {}).get("commit_id"):
        return f"{found.name} @ {origin['vcs_info']['vcs']}+{origin['url']}@{commit}{part}"
    return f"{found.name} @ {origin['url']}{part}" if origin else f"{found.name}=={found.version}"
