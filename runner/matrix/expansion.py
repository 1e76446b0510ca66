"""A matrix to its cells: the product of the axes, less what cannot exist or is excluded."""

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from runner.errors import UsageError
from runner.matrix.axes import (
    LOAD,
    POOLER,
    SECTIONS,
    SHARED,
    VERSIONS,
    Parameter,
    parse_parameter,
    selects,
    with_parameters,
)
from runner.matrix.cells import Cell, SkippedCell
from runner.matrix.rules import Combination, why_impossible
from runner.matrix.shape import own_words
from runner.matrix.spec import MatrixFile
from runner.stacks.poolers import NO_POOLER, AnyPoolerSpec
from runner.stacks.versions import parse_source

# Ten times what a night can run. More is most likely a mistake in the file, and is refused before it fills the memory.
MOST_CELLS = 2_000
# An id names folders, whose names may have 255 bytes.
LONGEST_VALUE = 32
LONGEST_ID = 160

EXCLUDED = "excluded by the matrix"


@dataclass(frozen=True)
class Expansion:
    """All cells in the order of the matrix's axes, the first varying slowest, and those that are left out."""

    cells: tuple[Cell, ...]
    skipped: tuple[SkippedCell, ...]


def expand(matrix: MatrixFile, limit: int | None = MOST_CELLS) -> Expansion:
    """The cells of a matrix that `read_matrix` let pass.

    Raises UsageError if there would be more than `limit`, without making them, or if two would have one id; None is
    no limit.
    """
    axes = _Axes(matrix)
    count = axes.count()
    if limit is not None and count > limit:
        raise UsageError(
            f"the matrix {matrix.name!r} has {count:,} cells; at most {limit:,} are taken. Cut an axis short; "
            "`connbench run` and `plan` take more with --yes."
        )
    cells: list[Cell] = []
    skipped: list[SkippedCell] = []
    for values in axes.combinations():
        made = _make(matrix, axes, values)
        (cells if isinstance(made, Cell) else skipped).append(made)  # type: ignore[arg-type]
    _refuse_equal_ids([*cells, *skipped])
    return Expansion(_with_references(matrix, axes, cells), tuple(skipped))


class _Axes:
    """The axes of a matrix, in its order; one that is left out has the only definition there is."""

    def __init__(self, matrix: MatrixFile) -> None:
        definitions: Mapping[str, Mapping[str, object]] = {
            "databases": matrix.databases,
            "servers": matrix.servers,
            "connections": matrix.connections,
            "poolers": matrix.poolers,
        }
        #: Axes of named definitions to their sections.
        self.named = {axis: name for axis, name in SECTIONS.items() if axis in matrix.matrix or axis != POOLER}
        implied = {axis: list(definitions[name]) for axis, name in self.named.items() if axis not in matrix.matrix}
        self.values: dict[str, Sequence[Any]] = {**implied, **matrix.matrix}
        parsed = (parse_parameter(axis) for axis in matrix.matrix if axis not in SECTIONS)
        self.parameters = {parameter.axis: parameter for parameter in parsed if parameter is not None}
        self.labels = {axis: self._label(parameter) for axis, parameter in self.parameters.items()}

    def count(self) -> int:
        """How many combinations there are, without making any."""
        total = math.prod(len(self.values[p.axis]) for p in self.parameters.values() if p.section in SHARED)
        for axis, section in self.named.items():
            total *= sum(self._variants(section, name) for name in self.values[axis])
        return total

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Axis values of each cell, in the file's order of axes."""
        rows = [row for names in self._names() for row in self._with_parameters(names)]
        order = list(self.values)
        rows.sort(key=lambda row: [row.get(axis, (-1, None))[0] for axis in order])
        for row in rows:
            yield {axis: row[axis][1] for axis in order if axis in row}

    def _variants(self, section: str, name: str) -> int:
        own = (p for p in self.parameters.values() if (p.section, p.name) == (section, name))
        return math.prod(len(self.values[parameter.axis]) for parameter in own)

    def _names(self) -> Iterator[dict[str, tuple[int, Any]]]:
        for row in itertools.product(*(enumerate(self.values[axis]) for axis in self.named)):
            yield dict(zip(self.named, row, strict=True))

    def _with_parameters(self, names: dict[str, tuple[int, Any]]) -> Iterator[dict[str, tuple[int, Any]]]:
        """A cell's names with each combination of its parameters; every value with its index."""
        chosen = {axis: value for axis, (_, value) in names.items()}
        axes = [axis for axis, parameter in self.parameters.items() if parameter.applies_to(chosen)]
        for row in itertools.product(*(enumerate(self.values[axis]) for axis in axes)):
            yield {**names, **dict(zip(axes, row, strict=True))}

    def _label(self, parameter: Parameter) -> str:
        """The shortest end of a parameter's name that no other parameter of the same cells ends in."""
        others = [
            other.axis.split(".")
            for other in self.parameters.values()
            if other.section != parameter.section or (other.name == parameter.name and other is not parameter)
        ]
        parts = parameter.axis.split(".")
        for length in range(1, len(parts)):
            if not any(other[-length:] == parts[-length:] for other in others):
                return _slug("-".join(parts[-length:]))
        return _slug(parameter.axis)


def _make(matrix: MatrixFile, axes: _Axes, values: dict[str, Any]) -> Cell | SkippedCell:
    cell_id = _cell_id(axes, values)
    if any(selects(where, values) for where in matrix.exclude):
        return SkippedCell(cell_id, values, EXCLUDED)
    try:
        database = with_parameters(matrix.databases[values["database"]], _chosen(axes, values, "databases"))
        server = with_parameters(matrix.servers[values["server"]], _chosen(axes, values, "servers"))
        connection = with_parameters(matrix.connections[values["connection"]], _chosen(axes, values, "connections"))
        pooler = _pooler(matrix, axes, values)
        load = with_parameters(matrix.load, _chosen(axes, values, LOAD))
        versions = with_parameters(matrix.versions, _chosen(axes, values, VERSIONS))
    except ValidationError as error:
        return SkippedCell(cell_id, values, own_words(error.errors(include_url=False)[0]))
    phases = matrix.phases[load.phases] if load.phases else []
    if phases:
        load = load.model_copy(update={"windows": 0})
    reason = why_impossible(Combination(database, server, connection, tuple(phases), pooler, versions.by_package))
    if reason is not None:
        return SkippedCell(cell_id, values, reason)
    return Cell(
        id=cell_id,
        axes=values,
        app=matrix.app,
        database_name=values["database"],
        server_name=values["server"],
        connection_name=values["connection"],
        database=database,
        server=server,
        connection=connection,
        load=load,
        versions=versions.by_package,
        reference=None,
        phases=tuple(phases),
        pooler=pooler,
    )


def _pooler(matrix: MatrixFile, axes: _Axes, values: dict[str, Any]) -> AnyPoolerSpec | None:
    name = values.get(POOLER, NO_POOLER)
    return None if name == NO_POOLER else with_parameters(matrix.poolers[name], _chosen(axes, values, "poolers"))


def _chosen(axes: _Axes, values: Mapping[str, Any], section: str) -> dict[tuple[str, ...], Any]:
    """A cell's values of the parameters of one section."""
    parameters = (axes.parameters[axis] for axis in values if axis in axes.parameters)
    return {parameter.path: values[parameter.axis] for parameter in parameters if parameter.section == section}


def _cell_id(axes: _Axes, values: Mapping[str, Any]) -> str:
    names = [_slug(values[axis]) for axis in axes.named]
    parameters = [f"{label}-{value_slug(values[axis])}" for axis, label in axes.labels.items() if axis in values]
    return "-".join([*names, *parameters])


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def value_slug(value: object) -> str:
    """An axis value as it stands in ids."""
    text = "none" if value is None else str(value)
    if parse_source(text) is not None:
        # What tells references apart is at the end.
        text = text.rpartition("/")[2]
    minus = "minus-" if text.startswith("-") and not isinstance(value, str) else ""
    return minus + (_slug(text)[:LONGEST_VALUE].strip("-") or "empty")


def _refuse_equal_ids(cells: Sequence[Cell | SkippedCell]) -> None:
    for cell_id, count in Counter(cell.id for cell in cells).items():
        if count > 1:
            twins = " and ".join(str(dict(cell.axes)) for cell in cells if cell.id == cell_id)
            raise UsageError(f"{count} cells would have the id {cell_id!r}: {twins}. Rename one of their definitions.")
        if len(cell_id) > LONGEST_ID:
            raise UsageError(
                f"the cell id {cell_id!r} has {len(cell_id)} characters, at most {LONGEST_ID}: shorten names"
            )


def _with_references(matrix: MatrixFile, axes: _Axes, cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Each cell with the one that it is compared to: equal but for the connection settings and the pooler."""
    reference = matrix.reference or axes.values["connection"][0]
    found: dict[tuple[tuple[str, str], ...], str] = {}
    for cell in cells:
        if cell.connection_name == reference:
            # With several variants of the reference, or several poolers, the first one is meant.
            found.setdefault(_apart_from_connection(cell), cell.id)
    return tuple(
        cell
        if (other := found.get(_apart_from_connection(cell))) in (None, cell.id)
        else replace(cell, reference=other)
        for cell in cells
    )


def _apart_from_connection(cell: Cell) -> tuple[tuple[str, str], ...]:
    own = ("connection", "connections", "pooler", "poolers")
    return tuple((axis, repr(value)) for axis, value in cell.axes.items() if axis.split(".")[0] not in own)
