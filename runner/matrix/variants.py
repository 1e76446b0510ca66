"""One side of a comparison, written on the command line: what it changes of a matrix, and the one cell that it is.

`connection=persistent,connection.conn_max_age=60,django=5.2,revision=HEAD~1`: definitions by axis, parameters by their
dotted names (`servers.uwsgi.threads`, or `server.threads` of whichever it is), `load.…`, package versions, the app.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from runner.errors import UsageError
from runner.matrix.axes import LOAD, POOLER, SECTIONS, SHARED, parse_parameter, unknown_part
from runner.matrix.cells import Cell
from runner.matrix.document import nearest, not_among
from runner.matrix.expansion import expand
from runner.matrix.spec import MatrixFile
from runner.stacks.packages import ENVIRONMENTS, locked_packages
from runner.stacks.poolers import NO_POOLER
from runner.stacks.versions import ALLOWED, PYTHON, is_version, spelt_out

_BRACKETS = {"[": 1, "{": 1, "]": -1, "}": -1}


@dataclass(frozen=True)
class Variant:
    """What a side changes. `app` is a name under apps/ or a folder; `revision` a git revision of that folder."""

    names: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    app: str | None = None
    revision: str | None = None

    def over(self, other: "Variant") -> "Variant":
        """Both, this one's word being the last."""
        return Variant(
            {**other.names, **self.names},
            {**other.parameters, **self.parameters},
            {**other.versions, **self.versions},
            self.app or other.app,
            self.revision or other.revision,
        )


def parse_variant(text: str, where: str) -> Variant:
    """`key=value[,key=value…]`; UsageError, with `where` it was written, if it is none."""
    names: dict[str, str] = {}
    parameters: dict[str, Any] = {}
    versions: dict[str, str] = {}
    app = revision = None
    for item in _items(text):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals and "@" in key:
            app, revision = (part or None for part in key.split("@", 1))
            # `app@REV` is the matrix's own app.
            app = None if app == "app" else app
        elif not equals or not key or not value:
            raise UsageError(f"{where}: found {item!r}, allowed: key=value, or app@REVISION")
        elif key == "revision":
            revision = value
        elif key == "app":
            app = value
        elif key in SECTIONS:
            names[key] = value
        elif "." in key:
            parameters[_parameter(key, where)] = _value(key, value, where)
        else:
            package = _package(key, where)
            versions[package] = _version(key, package, value, where)
    return Variant(names, parameters, versions, app, revision)


def cell_of(matrix: MatrixFile, variant: Variant, cell_id: str, where: str) -> Cell:
    """The one cell that a variant of the matrix is: of an axis that it does not name, the first value."""
    axes: dict[str, str] = {}
    for axis, section in SECTIONS.items():
        if axis == POOLER and axis not in {**matrix.matrix, **variant.names}:
            continue
        defined = [*getattr(matrix, section), *([NO_POOLER] if axis == POOLER else [])]
        name = variant.names.get(axis, matrix.matrix.get(axis, defined)[0] if defined else None)
        if name is None:
            continue
        if name not in defined:
            raise UsageError(f"{where}: {axis}: {not_among(name, defined)}")
        axes[axis] = name
    parameters = {axis: values[0] for axis, values in matrix.matrix.items() if axis not in SECTIONS}
    parameters |= {_in_full(key, axes): value for key, value in variant.parameters.items()}
    single = {axis: [value] for axis, value in {**axes, **parameters}.items()}
    for key in variant.parameters:
        _refuse_unknown(matrix, _in_full(key, axes), axes, where)
    expansion = expand(matrix.model_copy(update={"matrix": single, "exclude": []}))
    if not expansion.cells:
        raise UsageError(f"{where}: {', '.join(axes.values())} cannot run: {expansion.skipped[0].reason}")
    cell = expansion.cells[0]
    missing = sorted(set(variant.versions) - {PYTHON} - locked_packages(cell.environment.base))
    if missing:
        raise UsageError(f"{where}: the app environment {cell.environment.base} has no {missing[0]}")
    return replace(cell, id=cell_id, reference=None, versions={**cell.versions, **variant.versions})


def _refuse_unknown(matrix: MatrixFile, key: str, axes: Mapping[str, str], where: str) -> None:
    """A parameter that the cell does not have would change nothing."""
    parameter = parse_parameter(key)
    assert parameter is not None, "let pass when it was read"
    if not parameter.applies_to({axis: axes.get(axis) for axis in SECTIONS}):
        raise UsageError(f"{where}: {key} is no parameter of {', '.join(axes.values())}")
    section = getattr(matrix, parameter.section)
    spec = section if parameter.section in SHARED else section[parameter.name]
    unknown = unknown_part(spec, parameter.path)
    if unknown is not None and unknown[0] < len(parameter.path):
        raise UsageError(f"{where}: {key}: no such parameter: {not_among(parameter.path[unknown[0]], unknown[1])}")


def _items(text: str) -> list[str]:
    """Split at commas, those inside brackets left alone."""
    items, depth = [""], 0
    for letter in text:
        depth += _BRACKETS.get(letter, 0)
        if letter == "," and depth == 0:
            items.append("")
        else:
            items[-1] += letter
    return [item.strip() for item in items if item.strip()]


def _parameter(key: str, where: str) -> str:
    start, _, rest = key.partition(".")
    if (start in SECTIONS and rest) or parse_parameter(key) is not None:
        return key
    allowed = [*SECTIONS, *SECTIONS.values(), LOAD]
    raise UsageError(f"{where}: {key}: no such parameter: it begins with {not_among(start, allowed)}")


def _in_full(key: str, axes: Mapping[str, str]) -> str:
    """`server.threads` as `servers.uwsgi.threads`."""
    start, _, rest = key.partition(".")
    return f"{SECTIONS[start]}.{axes[start]}.{rest}" if start in axes else key


def _value(key: str, text: str, where: str) -> Any:
    """As it would stand in a matrix file."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise UsageError(f"{where}: {key}: found {text!r}, which is no value as in a matrix file") from error


def _package(key: str, where: str) -> str:
    name = re.sub(r"[-_.]+", "-", key).lower()
    known = sorted(frozenset().union(*map(locked_packages, ENVIRONMENTS)))
    if name in known:
        return name
    allowed = [*SECTIONS, "app", "revision", *known]
    shown = ", ".join([*SECTIONS, "app", "revision"])
    hint = nearest(key, allowed)
    raise UsageError(f"{where}: found {key!r}, allowed: {shown}, a dotted parameter or a package of the app's{hint}")


def _version(key: str, package: str, text: str, where: str) -> str:
    try:
        version = spelt_out(package, text)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error
    if not is_version(version):
        raise UsageError(f"{where}: {key}: found {text!r}, allowed: {ALLOWED}")
    return version
