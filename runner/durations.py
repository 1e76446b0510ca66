"""Durations as people write them in a matrix: a number with its unit."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

_DURATION = re.compile(r"(?P<number>[0-9]+(\.[0-9]+)?)\s*(?P<unit>ms|s|m)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}

#: As in the file; for the JSON Schema alone.
DurationText = Annotated[str, Field(pattern=r"^ *[0-9]+(\.[0-9]+)? *(ms|s|m) *$")]


def parse_duration(value: object) -> object:
    """`4s`, `250ms`, `2m` to seconds; a bare number is refused, since its unit would be a guess."""
    if not isinstance(value, str):
        raise ValueError(f"a duration needs a unit, such as '4s' or '250ms', not {value!r}")
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is no duration; write '4s', '250ms' or '2m'")
    return float(match["number"]) * _SECONDS[match["unit"]]


def write_duration(seconds: float) -> str:
    """What `parse_duration` reads: a dumped matrix can be read again."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


#: Seconds, written with a unit.
Duration = Annotated[
    float,
    BeforeValidator(parse_duration, json_schema_input_type=DurationText),
    PlainSerializer(write_duration, return_type=str),
    Field(gt=0, le=3600),
]

#: The same, or none at all: `0ms`.
DurationOrNone = Annotated[
    float,
    BeforeValidator(parse_duration, json_schema_input_type=DurationText),
    PlainSerializer(write_duration, return_type=str),
    Field(ge=0, le=10),
]
