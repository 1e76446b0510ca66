"""What a project says that it wants in pyproject.toml (PEP 621 with uv's sources, PDM, Poetry) or in a Pipfile."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from runner.stacks.origins import address_of, checked, is_local, refuse_archive, refuse_index
from runner.stacks.workspaces import uv_table

#: Pipenv's: `sys_platform = "== 'linux'"`.
MARKERS = ("python_version", "python_full_version", "sys_platform", "os_name", "platform_system", "platform_machine")
_NUMBERS = re.compile(r"\d+")
#: Constraints that have to hold together: `>=1.2,<3`, and `>=1.2 <3`.
_TOGETHER = re.compile(r",|\s+(?=[<>=!~^])")


def of_pyproject(path: Path) -> Iterator[str]:
    """Requirements; ValueError where one cannot be read or comes from an index that is not asked here."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    tool = content.get("tool", {})
    poetry = tool.get("poetry", {})
    named = poetry.get("dependencies", {})
    dependencies = [Requirement(checked(text)) for text in content.get("project", {}).get("dependencies", [])]
    if dependencies:
        _refuse_indexes(tool.get("pdm", {}).get("source", []))
        # Of what [project] names, Poetry's own table says where it is.
        beside = {canonicalize_name(name) for name, wanted in named.items() if any(map(is_local, _rows(wanted)))}
        asked = [wanted for wanted in dependencies if canonicalize_name(wanted.name) not in beside]
        yield from _of_project(asked, uv_table(path))
    rows = poetry.get("source", [])
    _refuse_indexes(row for row in rows if row.get("priority") != "explicit")
    for name, wanted in named.items():
        if name != "python":
            yield from _of_table(name, wanted, _by_name(rows))


def of_pipfile(path: Path) -> Iterator[str]:
    """As of a pyproject.toml. The first index is for all packages, another one for those that name it."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    rows = content.get("source", [])
    _refuse_indexes(rows[:1])
    for name, wanted in content.get("packages", {}).items():
        yield from _of_table(name, wanted, _by_name(rows))


def _of_project(dependencies: Iterable[Requirement], uv: Mapping[str, Any]) -> Iterator[str]:
    """https://docs.astral.sh/uv/concepts/projects/dependencies/#dependency-sources"""
    rows = uv.get("index", [])
    older = [{"url": url} for url in (uv.get("index-url"), *uv.get("extra-index-url", [])) if url]
    _refuse_indexes([*(row for row in rows if not row.get("explicit")), *older])
    sources = {canonicalize_name(name): source for name, source in uv.get("sources", {}).items()}
    for wanted in dependencies:
        source = _applying(sources.get(canonicalize_name(wanted.name), {}))
        if _is_beside(source):
            continue
        _refuse_named_index(source.get("index", ""), _by_name(rows))
        if address := address_of(source):
            wanted.specifier, wanted.url = SpecifierSet(), address
        yield str(wanted)


def _applying(source: Mapping[str, Any] | list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The one that is meant here: extras and groups are asked for by nobody."""
    rows = source if isinstance(source, list) else [source]
    asked = (row for row in rows if "extra" not in row and "group" not in row)
    return next((row for row in asked if "marker" not in row or Marker(row["marker"]).evaluate()), {})


def _of_table(name: str, wanted: Any, indexes: Mapping[str, str]) -> Iterator[str]:
    """https://python-poetry.org/docs/dependency-specification/, and Pipenv's, which is alike."""
    for row in _rows(wanted):
        # Extras are asked for by nobody here.
        if row.get("optional") or _is_beside(row):
            continue
        _refuse_named_index(row.get("source") or row.get("index") or "", indexes)
        extras = f"[{','.join(row['extras'])}]" if row.get("extras") else ""
        address = address_of(row)
        what = f" @ {address}" if address else specifier(row.get("version", "*"))
        marker = _marker(row)
        yield checked(f"{name}{extras}{what}{f' ; {marker}' if marker else ''}")


def _is_beside(table: Mapping[str, Any]) -> bool:
    """Whether a package is a folder of this disk; ValueError for a file of it, which would have to be installed."""
    for name in ("path", "file"):
        refuse_archive(str(table.get(name, "")))
    return is_local(table)


def _rows(wanted: Any) -> list[Mapping[str, Any]]:
    """A package's tables: one for each platform or Python that it is wanted for; a version alone is one of them."""
    rows = wanted if isinstance(wanted, list) else [wanted]
    return [{"version": row} if isinstance(row, str) else row for row in rows]


def _marker(wanted: Mapping[str, Any]) -> str:
    parts = [wanted["markers"]] if wanted.get("markers") else []
    pythons = [_python(part) for part in alternatives(wanted.get("python", "*"))]
    if all(pythons):
        parts.append(" or ".join(pythons))
    if wanted.get("platform"):
        parts.append(f"sys_platform == '{wanted['platform']}'")
    parts += [f"{name} {wanted[name]}" for name in MARKERS if name in wanted]
    return " and ".join(f"({part})" for part in parts)


def _python(specifiers: str) -> str:
    bounds = sorted(SpecifierSet(specifiers), key=str)
    return " and ".join(f"python_full_version {bound.operator} '{bound.version}'" for bound in bounds)


def alternatives(poetry: str) -> list[str]:
    """Poetry's version constraints, of which one has to hold (`^3.9 || ^3.12`), each as PEP 440 has it."""
    return [specifier(part.strip()) for part in re.split(r"\|\|?", poetry)]


def specifier(poetry: str) -> str:
    """Poetry's version constraint as PEP 440 has it: `^4.2` is `>=4.2,<5`."""
    parts = [part.strip() for part in _TOGETHER.split(poetry) if part.strip() not in ("", "*")]
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


def _by_name(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {str(row.get("name", "")): row["url"] for row in rows if "url" in row}


def _refuse_indexes(rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        # Poetry's own name for the default one, PyPI, has no address.
        if "url" in row:
            refuse_index(row["url"])


def _refuse_named_index(name: str, indexes: Mapping[str, str]) -> None:
    if name in indexes:
        refuse_index(indexes[name])
    elif name and name.lower() != "pypi":
        raise ValueError(
            f"packages come from the index {name!r}, of which nothing says where it is: declare it in this file, or "
            "name a file whose packages are all public (--dependencies FILE, `dependencies:` in app.yaml)"
        )
