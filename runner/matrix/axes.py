"""What varies: named definitions, and dotted parameters such as `servers.uwsgi.threads`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from runner.models import Strict

#: Axis to the section of the file whose definitions it names.
SECTIONS = {"database": "databases", "server": "servers", "connection": "connections", "pooler": "poolers"}
#: The axis that a matrix may go without: none of its cells has a pooler then.
POOLER = "pooler"
LOAD = "load"
VERSIONS = "versions"
#: Sections that every cell has, whose parameters need no definition's name.
SHARED = (LOAD, VERSIONS)
#: What may stand as an axis by its bare name: `django:` is `versions.django:`.
PACKAGES = ("python", "django", "psycopg", "psycopg2-binary", "mysqlclient", "pymysql", "gunicorn", "uwsgi", "gevent")

S = TypeVar("S", bound=Strict)


@dataclass(frozen=True)
class Parameter:
    """A dotted axis. `name` is the definition whose parameter varies, empty for what all cells have."""

    axis: str
    section: str
    name: str
    path: tuple[str, ...]

    def applies_to(self, axes: Mapping[str, Any]) -> bool:
        """Whether a cell with these definitions has the parameter at all."""
        if self.section in SHARED:
            return True
        return any(section == self.section and axes.get(axis) == self.name for axis, section in SECTIONS.items())


def parse_parameter(axis: str) -> Parameter | None:
    """`servers.uwsgi.threads`, `load.users` or `django` in its parts; None for anything else."""
    section, *rest = axis.split(".")
    if not all(rest):
        return None
    if axis in PACKAGES:
        return Parameter(axis, VERSIONS, "", (axis,))
    if section in SHARED and rest:
        return Parameter(axis, section, "", tuple(rest))
    if section in SECTIONS.values() and len(rest) >= 2:
        name, *path = rest
        if path[0] == "settings" and len(path) > 1:
            # A database server's own setting, whose name may have dots.
            path = ["settings", ".".join(path[1:])]
        return Parameter(axis, section, name, tuple(path))
    return None


def with_parameters(spec: S, values: Mapping[tuple[str, ...], Any]) -> S:
    """The spec with parameters replaced, validated anew; raises pydantic's ValidationError if wrong."""
    if not values:
        return spec
    # What was not written stays unwritten, so that messages can still tell a default from a choice.
    data = spec.model_dump(exclude_unset=True)
    for path, value in values.items():
        inner = data
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
        inner[path[-1]] = value
    return type(spec).model_validate(data, strict=True)


def unknown_part(spec: Strict, path: Sequence[str]) -> tuple[int, list[str]] | None:
    """Which part of a parameter's path does not exist, and what does there; None if all is well."""
    here: Any = spec
    for index, part in enumerate(path):
        if isinstance(here, Mapping):
            # A database server's own settings, by any name.
            return None
        if isinstance(here, Strict) and here.model_config.get("extra") == "allow":
            # Packages, by any name.
            return None
        known = list(type(here).model_fields) if isinstance(here, Strict) else []
        if part not in known:
            return index, known
        here = getattr(here, part)
    if isinstance(here, Strict):
        return len(path), list(type(here).model_fields)
    return (len(path), []) if isinstance(here, Mapping) else None


def same(left: object, right: object) -> bool:
    """Equality as a YAML author sees it: 1 is 1.0 but neither is true."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def selects(where: Mapping[str, Any], axes: Mapping[str, Any]) -> bool:
    """Whether a cell with these axis values is meant; a list in `where` stands for any of its values."""
    return all(
        axis in axes and any(same(axes[axis], value) for value in (wanted if isinstance(wanted, list) else [wanted]))
        for axis, wanted in where.items()
    )
