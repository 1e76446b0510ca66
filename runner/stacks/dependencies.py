"""Which packages a project asks for, read from the files in which Python projects say so.

Two kinds: what it wants (pyproject.toml, Pipfile, requirements files) and what was locked (uv.lock, poetry.lock,
Pipfile.lock). A lock only says which version a wanted package comes in: it names packages of other systems and of
development too. A project that writes none of them has what its virtual environment (pyvenv.cfg) has.
"""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from runner.errors import UsageError

_CONTINUED = re.compile(r"\\\r?\n")
_COMMENT = re.compile(r"(^|\s)#.*$")
_INCLUDED = re.compile(r"(?:-r|--requirement|-c|--constraint)(?:\s+|=)(.+)")
#: What stands behind a requirement in a requirements file.
_OPTIONS = re.compile(r"\s--(hash|global-option|config-settings)\b.*$")
_NUMBERS = re.compile(r"\d+")
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
    """UsageError, with the file, where one is missing or cannot be read."""
    wanted: list[str] = []
    locked: list[str] = []
    for path in files:
        try:
            (locked if path.name.endswith(".lock") else wanted).extend(_requirements(path))
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise UsageError(f"{path}: the dependencies cannot be read: {error}") from error
    return AppPackages(name, tuple(sorted(set(wanted))), tuple(sorted(set(locked))))


def package_name(requirement: str) -> str:
    """The canonical name of what a requirement asks for; empty where it names none (an address, say)."""
    try:
        return str(canonicalize_name(Requirement(requirement).name))
    except InvalidRequirement:
        return ""


def _requirements(path: Path) -> list[str]:
    readers = {
        "pyproject.toml": _of_pyproject,
        "Pipfile": _of_pipfile,
        "Pipfile.lock": _of_pipfile_lock,
        VIRTUAL_ENVIRONMENT: _of_virtual_environment,
    }
    reader = readers.get(path.name, _of_lock if path.name.endswith(".lock") else _of_requirements_file)
    return list(reader(path))


def _of_requirements_file(path: Path) -> Iterator[str]:
    """One file and what it includes; a package of the project's own folder (`-e .`) is there without being built."""
    for line in _CONTINUED.sub(" ", path.read_text(encoding="utf-8-sig")).splitlines():
        text = _OPTIONS.sub("", _COMMENT.sub("", line)).strip()
        if included := _INCLUDED.match(text):
            yield from _of_requirements_file(path.parent / included[1].strip().strip("\"'"))
        elif text and not text.startswith(("-", ".", "/")):
            yield _checked(text)


def _checked(text: str) -> str:
    try:
        return str(Requirement(text))
    except InvalidRequirement as error:
        raise ValueError(f"{text!r} is no requirement: {error}") from error


def _of_pyproject(path: Path) -> Iterator[str]:
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    for text in content.get("project", {}).get("dependencies", []):
        yield _checked(text)
    poetry = content.get("tool", {}).get("poetry", {}).get("dependencies", {})
    for name, wanted in poetry.items():
        if name != "python":
            yield from _of_poetry(name, wanted)


def _of_poetry(name: str, wanted: Any) -> Iterator[str]:
    """https://python-poetry.org/docs/dependency-specification/"""
    if isinstance(wanted, list):
        for one in wanted:
            yield from _of_poetry(name, one)
        return
    if isinstance(wanted, str):
        wanted = {"version": wanted}
    # What is in the project's own folder is there without being built; extras are asked for by nobody here.
    if wanted.get("optional") or "path" in wanted:
        return
    extras = f"[{','.join(wanted['extras'])}]" if wanted.get("extras") else ""
    marker = f" ; {wanted['markers']}" if wanted.get("markers") else ""
    address = f" @ git+{wanted['git']}" if "git" in wanted else ""
    version = "" if address else specifier(wanted.get("version", "*"))
    yield _checked(f"{name}{extras}{version}{address}{marker}")


def specifier(poetry: str) -> str:
    """Poetry's version constraint as PEP 440 has it: `^4.2` is `>=4.2,<5`."""
    parts = [part.strip() for part in poetry.split(",") if part.strip() not in ("", "*")]
    text = ",".join(_specifier(part) for part in parts)
    try:
        SpecifierSet(text)
    except InvalidSpecifier as error:
        raise ValueError(f"found the version {poetry!r}, allowed: one constraint, or several with commas") from error
    return text


def _specifier(part: str) -> str:
    if part[0] not in "^~" or part.startswith("~="):
        return part if part[0] in "<>=!~" else f"=={part}"
    version = part[1:].strip()
    numbers = [int(number) for number in _NUMBERS.findall(version.split("-", 1)[0])]
    # A caret keeps the leftmost number that is not 0, a tilde the second, where there are two.
    kept = min(1, len(numbers) - 1)
    if part[0] == "^":
        kept = next((index for index, number in enumerate(numbers) if number), len(numbers) - 1)
    ceiling = [*numbers[:kept], numbers[kept] + 1]
    return f">={version},<{'.'.join(map(str, ceiling))}"


def _of_pipfile(path: Path) -> Iterator[str]:
    for name, wanted in tomllib.loads(path.read_text(encoding="utf-8")).get("packages", {}).items():
        yield from _of_poetry(name, wanted)


def _of_pipfile_lock(path: Path) -> Iterator[str]:
    for name, locked in json.loads(path.read_text(encoding="utf-8")).get("default", {}).items():
        if "version" in locked:
            yield _checked(f"{name}{locked['version']}")


def _of_lock(path: Path) -> Iterator[str]:
    """uv.lock and poetry.lock alike; a package that is there in several versions is left to the resolver."""
    packages: Iterable[Mapping[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8")).get("package", [])
    known = [one for one in packages if "version" in one and not _is_local(one.get("source", {}))]
    times = Counter(one["name"] for one in known)
    for one in known:
        if times[one["name"]] == 1:
            yield _checked(f"{one['name']}=={one['version']}")


def _of_virtual_environment(path: Path) -> Iterator[str]:
    """What is installed, in its versions; a project of the disk, as `-e .` leaves it, is there without being built."""
    path.read_text(encoding="utf-8")
    for site in path.parent.glob("lib/python*/site-packages"):
        for found in distributions(path=[str(site)]):
            # Of a package that pip removed, or was removing, a folder may be left, in which no metadata are.
            if not any(found.read_text(metadata) for metadata in ("METADATA", "PKG-INFO", "")):
                continue
            if found.name.lower() not in _ITS_TOOLS and (requirement := _installed(found)):
                yield _checked(requirement)


def _installed(found: Distribution) -> str:
    """https://packaging.python.org/en/latest/specifications/direct-url/"""
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    if "dir_info" in origin:
        return ""
    part = f"#subdirectory={origin['subdirectory']}" if origin.get("subdirectory") else ""
    if commit := origin.get("vcs_info", {}).get("commit_id"):
        return f"{found.name} @ {origin['vcs_info']['vcs']}+{origin['url']}@{commit}{part}"
    return f"{found.name} @ {origin['url']}{part}" if origin else f"{found.name}=={found.version}"


def _is_local(source: Mapping[str, Any]) -> bool:
    """uv's lock has the project itself among its packages."""
    return bool({"virtual", "editable", "directory", "path"} & set(source))
