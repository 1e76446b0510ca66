"""The JSON Schema of a matrix file, for editors: matrices/schema.json is what `connbench schema` prints."""

from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter

from runner.durations import write_duration
from runner.matrix.axes import SECTIONS
from runner.matrix.metrics import METRICS
from runner.matrix.spec import Bound, MatrixFile
from runner.shares import write_share


def json_schema() -> dict[str, Any]:
    """The schema of the file as people write it: the models, with expectations flat and axes by name."""
    schema = MatrixFile.model_json_schema()
    definitions = schema["$defs"]
    del definitions["Expectation"]
    definitions["Bound"] = TypeAdapter(Bound).json_schema()
    schema["properties"]["expect"]["items"] = _flat_expectation()
    definitions["Condition"]["properties"]["expect"]["items"] = _flat_expectation()
    schema["properties"]["matrix"] = _axes(schema["properties"]["matrix"])
    for union in _unions(schema):
        # The tag has a default in the models, yet a definition without it is refused.
        name = union["discriminator"]["propertyName"]
        for reference in union["discriminator"]["mapping"].values():
            definition = definitions[reference.removeprefix("#/$defs/")]
            definition["required"] = sorted({*definition.get("required", []), name})
    heading = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "connbench matrix"}
    return {**heading, **_tidied(schema)}


def _flat_expectation() -> dict[str, Any]:
    metrics = {metric: {"$ref": "#/$defs/Bound"} for metric in METRICS}
    where = {"type": "object", "description": "Axis to its value, or to a list of values."}
    return {
        "type": "object",
        "description": "Bounds on metrics of the cells that `where` selects: breaking one fails the run.",
        "properties": {"where": where, **metrics},
        "additionalProperties": False,
    }


def _axes(matrix: dict[str, Any]) -> dict[str, Any]:
    names = {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"type": "string"}}
    values = {
        "type": "array",
        "minItems": 1,
        "uniqueItems": True,
        "items": {"type": ["string", "number", "boolean", "null"]},
    }
    dotted = rf"^(load|({'|'.join(SECTIONS.values())})\.[a-z0-9][a-z0-9_-]*)(\..+)+$"
    return {
        "type": "object",
        "description": "Axis to its values; a dotted parameter is an axis too: `servers.x.threads: [1, 2]`.",
        "minProperties": matrix["minProperties"],
        "properties": dict.fromkeys(SECTIONS, names),
        "patternProperties": {dotted: values},
        "additionalProperties": False,
    }


def _unions(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if isinstance(schema.get("discriminator"), dict):
            yield schema
        for value in schema.values():
            yield from _unions(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _unions(value)


def _tidied(schema: Any) -> Any:
    """Without the titles that pydantic makes of names, and with durations and shares as they are written."""
    if isinstance(schema, list):
        return [_tidied(value) for value in schema]
    if not isinstance(schema, dict):
        return schema
    unwanted = {"title"} if isinstance(schema.get("title"), str) else set()
    if {"gt", "ge"} & schema.keys() and schema.get("type") == "string":
        # The models bound the number; the text, a duration or a share, has only a pattern.
        unwanted |= {"gt", "ge", "le"}
        if isinstance(schema.get("default"), float):
            write = write_share if "%" in schema.get("pattern", "") else write_duration
            schema = {**schema, "default": write(schema["default"])}
    return {key: _tidied(value) for key, value in schema.items() if key not in unwanted}
