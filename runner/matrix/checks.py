"""What a model cannot see: whether the names in a matrix file name something, and dotted parameters hold."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from runner.matrix.axes import (
    LOAD,
    PACKAGES,
    POOLER,
    SECTIONS,
    SHARED,
    VERSIONS,
    Parameter,
    parse_parameter,
    same,
    unknown_part,
    with_parameters,
)
from runner.matrix.document import Document, Place, nearest, not_among, shown
from runner.matrix.shape import own_words
from runner.matrix.spec import LoadSpec
from runner.models import Strict
from runner.stacks.app import is_path
from runner.stacks.connection import ConnectionSpec
from runner.stacks.databases import AnyDatabaseSpec
from runner.stacks.poolers import NO_POOLER, AnyPoolerSpec
from runner.stacks.servers import AnyServerSpec
from runner.stacks.versions import VersionsSpec

_KINDS: Mapping[str, Any] = {
    "databases": AnyDatabaseSpec,
    "servers": AnyServerSpec,
    "connections": ConnectionSpec,
    "poolers": AnyPoolerSpec,
}
_SHARED_KINDS: Mapping[str, type[Strict]] = {LOAD: LoadSpec, VERSIONS: VersionsSpec}


def check_names(document: Document, root: Path) -> None:
    """Notes every name that names nothing; works on whatever part of the file has the right shape."""
    checker = _Checker(document, root)
    checker.check_axes()
    checker.check_selections()
    checker.check_reference()
    checker.check_files()
    checker.check_phases()


class _Checker:
    def __init__(self, document: Document, root: Path) -> None:
        self._document = document
        self._root = root
        self._data: dict[str, Any] = document.data
        self._definitions = {section: _mapping(self._data.get(section)) for section in _KINDS}
        self._axes = _mapping(self._data.get("matrix"))

    def check_axes(self) -> None:
        for axis, values in self._axes.items():
            if not isinstance(values, list):
                continue
            self._check_repeats(axis, values)
            if axis in SECTIONS:
                self._check_definitions(axis, values)
            elif (parameter := parse_parameter(axis)) is not None:
                self._check_parameter(parameter, values)
            else:
                allowed = [
                    *SECTIONS,
                    "a dotted parameter such as servers.<name>.<parameter>, load.<parameter> or versions.<package>",
                ]
                hint = nearest(axis, [*SECTIONS, *PACKAGES])
                self._document.at_key(("matrix", axis), f"no such axis; allowed: {', '.join(allowed)}{hint}")
        self._check_unnamed_axes()

    def check_selections(self) -> None:
        for section in ("exclude", "expect"):
            entries = self._data.get(section)
            for index, entry in enumerate(entries if isinstance(entries, list) else []):
                if section == "exclude":
                    self._check_where((section, index), entry)
                elif isinstance(entry, dict) and "where" in entry:
                    self._check_where((section, index, "where"), entry["where"])
        self._check_conditions()

    def _check_conditions(self) -> None:
        conditions = _mapping(self._data.get("claim")).get("conditions")
        for index, condition in enumerate(conditions if isinstance(conditions, list) else []):
            bounds = _mapping(condition).get("expect")
            for number, entry in enumerate(bounds if isinstance(bounds, list) else []):
                if isinstance(entry, dict) and "where" in entry:
                    self._check_where(("claim", "conditions", index, "expect", number, "where"), entry["where"])

    def check_reference(self) -> None:
        if not isinstance(reference := self._data.get("reference"), str):
            return
        axis = self._axes.get("connection")
        allowed = list(self._definitions["connections"]) if axis is None else _texts(axis)
        if reference not in allowed:
            self._document.at_value(("reference",), not_among(reference, allowed))

    def check_files(self) -> None:
        app = self._data.get("app")
        if isinstance(app, str):
            self._check_app(app)
        for place, profile in self._named("profile"):
            self._check_profile(place, profile)

    def check_phases(self) -> None:
        defined = list(_mapping(self._data.get("phases")))
        for place, name in self._named("phases"):
            if isinstance(name, str) and name not in defined:
                self._document.at_value(place, f"no such list under phases: {not_among(name, defined)}")

    def _check_repeats(self, axis: str, values: list[Any]) -> None:
        for index, value in enumerate(values):
            if any(same(value, earlier) for earlier in values[:index]):
                self._document.at_value(("matrix", axis, index), f"found {shown(value)} twice on one axis")

    def _check_definitions(self, axis: str, values: list[Any]) -> None:
        allowed = self._names(axis)
        for index, value in enumerate(values):
            if not isinstance(value, str) or value not in allowed:
                self._document.at_value(("matrix", axis, index), not_among(value, allowed))

    def _names(self, axis: str) -> list[str]:
        """What an axis of definitions can have."""
        return [*([NO_POOLER] if axis == POOLER else []), *self._definitions[SECTIONS[axis]]]

    def _check_unnamed_axes(self) -> None:
        for axis, section in SECTIONS.items():
            names = list(self._definitions[section])
            # One definition is meant without being named, but a pooler may also be left out.
            several = len(names) > (0 if axis == POOLER else 1)
            if isinstance(self._data.get("matrix"), dict) and axis not in self._axes and several:
                text = f"the axis {axis} is missing; {section} defines {', '.join(names)}: name those to run"
                self._document.at_key(("matrix",), text)

    def _check_parameter(self, parameter: Parameter, values: list[Any]) -> None:
        place: Place = ("matrix", parameter.axis)
        if not self._is_on_axis(parameter, place):
            return
        spec = self._spec(parameter)
        if spec is None:
            return
        unknown = unknown_part(spec, parameter.path)
        if unknown is not None:
            self._note_unknown(place, parameter, *unknown)
            return
        for index, value in enumerate(values):
            if isinstance(value, dict | list):
                text = f"found {shown(value)}, allowed: a single value; name what it is made of in the axis"
                self._document.at_value((*place, index), text)
            else:
                self._check_value((*place, index), spec, parameter, value)

    def _is_on_axis(self, parameter: Parameter, place: Place) -> bool:
        if parameter.section in SHARED:
            return True
        defined = list(self._definitions[parameter.section])
        if parameter.name not in defined:
            self._document.at_key(
                place, f"no such definition under {parameter.section}: {not_among(parameter.name, defined)}"
            )
            return False
        axis = next(axis for axis, section in SECTIONS.items() if section == parameter.section)
        chosen = self._axes.get(axis)
        if isinstance(chosen, list) and parameter.name not in chosen:
            self._document.at_key(place, f"{parameter.name} is not on the axis {axis}, so this would vary nothing")
            return False
        return True

    def _spec(self, parameter: Parameter) -> Strict | None:
        """The definition whose parameter varies; None if it is wrong itself, which is noted elsewhere."""
        if parameter.section in SHARED:
            kind, raw = _SHARED_KINDS[parameter.section], self._data.get(parameter.section, {})
        else:
            kind, raw = _KINDS[parameter.section], self._definitions[parameter.section][parameter.name]
        with contextlib.suppress(ValidationError):
            spec: Strict = TypeAdapter(kind).validate_python(raw, strict=True)
            return spec
        return None

    def _note_unknown(self, place: Place, parameter: Parameter, index: int, known: list[str]) -> None:
        parts = parameter.axis.split(".")
        owner = ".".join(parts[: len(parts) - len(parameter.path) + index])
        if index == len(parameter.path):
            choice = f": {', '.join(known)}" if known else ""
            text = f"{owner} is a group of parameters; name one of them{choice}"
        elif known:
            text = f"no such parameter of {owner}: {not_among(parameter.path[index], known)}"
        else:
            text = f"{owner} is set to nothing that has parameters"
        self._document.at_key(place, text)

    def _check_value(self, place: Place, spec: Strict, parameter: Parameter, value: object) -> None:
        try:
            with_parameters(spec, {parameter.path: value})
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                # Parameters that do not go together: another axis may make them, cell by cell.
                if detail["loc"] or not self._has_company(parameter):
                    self._document.at_value(place, own_words(detail))

    def _has_company(self, parameter: Parameter) -> bool:
        """Whether another axis varies the same definition."""
        others = (parse_parameter(axis) for axis in self._axes if axis != parameter.axis)
        return any(other and (other.section, other.name) == (parameter.section, parameter.name) for other in others)

    def _check_where(self, place: Place, where: object) -> None:
        if not isinstance(where, dict):
            return
        if not where and place[0] == "exclude":
            self._document.at_value(place, "found nothing to select by; this would exclude every cell")
        allowed = list(dict.fromkeys([*SECTIONS, *self._axes]))
        for axis, wanted in where.items():
            if axis not in allowed:
                self._document.at_key(
                    (*place, axis), f"no such axis; allowed: {', '.join(allowed)}{nearest(axis, allowed)}"
                )
                continue
            values = self._values_of(axis)
            for at, value in _each((*place, axis), wanted):
                if not any(same(value, known) for known in values):
                    names = [value if isinstance(value, str) else shown(value) for value in values]
                    self._document.at_value(at, not_among(value, names))

    def _values_of(self, axis: str) -> list[Any]:
        """What an axis can have: whatever is defined, so that an axis can be cut short for a while."""
        on_axis = self._axes.get(axis)
        values = on_axis if isinstance(on_axis, list) else []
        return list(dict.fromkeys([*self._names(axis), *_texts(values)])) if axis in SECTIONS else values

    def _check_app(self, app: str) -> None:
        if is_path(app):
            self._check_path(("app",), app)
            return
        folder = self._root / "apps"
        known = sorted(path.parent.name for path in folder.glob("*/app.yaml"))
        if app not in known:
            self._document.at_value(("app",), f"no folder under apps/ with an app.yaml: {not_among(app, known)}")

    def _named(self, parameter: str) -> Iterator[tuple[Place, object]]:
        """Every value of one of the load's parameters, by itself and on its axis."""
        load, axis = self._data.get(LOAD), f"{LOAD}.{parameter}"
        if isinstance(load, dict) and parameter in load:
            yield (LOAD, parameter), load[parameter]
        values = self._axes.get(axis)
        for index, value in enumerate(values if isinstance(values, list) else []):
            yield ("matrix", axis, index), value

    def _check_path(self, place: Place, text: str) -> None:
        path = self._document.path.parent / text
        if not path.exists():
            self._document.at_value(place, f"found {shown(text)}, and there is no {path}")

    def _check_profile(self, place: Place, profile: object) -> None:
        if isinstance(profile, str) and is_path(profile):
            if place[0] == "matrix":
                text = f"found {shown(profile)}: a Locust file's path stands under `load:`, not on an axis"
                self._document.at_value(place, text)
            else:
                self._check_path(place, profile)
            return
        # A file there that drives nothing is a profile's library; only running it can tell.
        known = sorted(path.stem for path in (self._root / "locustfiles").glob("*.py"))
        if isinstance(profile, str) and profile not in known:
            self._document.at_value(place, f"no such file under locustfiles/: {not_among(profile, known)}")


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _each(place: Place, wanted: object) -> Iterator[tuple[Place, object]]:
    if isinstance(wanted, list):
        yield from (((*place, index), value) for index, value in enumerate(wanted))
    else:
        yield place, wanted
