"""Sizes in memory as a person writes them: `512MB`, `2GB`."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

_SIZE = re.compile(r"(?P<number>[0-9]+(\.[0-9]+)?)\s*(?P<unit>MB|GB)")
_BYTES = {"MB": 1_000_000, "GB": 1_000_000_000}

#: As in the file; for the JSON Schema alone.
SizeText = Annotated[str, Field(pattern=r"^ *[0-9]+(\.[0-9]+)? *(MB|GB) *$")]


def parse_size(value: object) -> object:
    """`512MB`, `2GB` to bytes; a bare number is refused, since its unit would be a guess."""
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"found {value!r}, allowed: a size such as '512MB' or '2GB'")
    return round(float(match["number"]) * _BYTES[match["unit"]])


def write_size(size: int) -> str:
    """What `parse_size` reads: a dumped matrix can be read again."""
    return f"{size / 1_000_000:.6f}".rstrip("0").rstrip(".") + "MB"


#: Bytes, written with a unit.
Size = Annotated[
    int,
    BeforeValidator(parse_size, json_schema_input_type=SizeText),
    PlainSerializer(write_size, return_type=str),
    Field(gt=0),
]
