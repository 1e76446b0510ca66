"""What a deployment may take and must keep: the `advise:` part of a matrix."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

from runner.durations import Duration
from runner.matrix.slo import Percentage
from runner.models import Strict

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


class AdviseSpec(Strict):
    """What `connbench advise` has to keep to, and the settings of today."""

    #: Of the database that is deployed; by default the matrix's own limit, or the product's (100, or 151 on MySQL).
    max_connections: int | None = Field(default=None, ge=1, le=1_000_000)
    #: The share of them that is kept free for whoever else connects.
    headroom: Percentage = 0.1
    #: App servers with the stack of a cell on each.
    hosts: int = Field(default=1, ge=1, le=10_000)
    #: What app, and pooler, may take at their peak on one host.
    memory: Size | None = None
    #: Response time that the matrix's load has to keep.
    p95: Duration | None = None
    #: Requests a second that all hosts together have to answer.
    rate: float | None = Field(default=None, gt=0, le=1_000_000)
    #: For all of the measuring.
    within: Duration = 900.0
    #: The settings of today, as `key=value,…` on top of the matrix's first ones.
    present: str | None = None
