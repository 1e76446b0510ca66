"""Shares as people write them: `5%`, or `0.05`."""

import math
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

#: As in the file; for the JSON Schema alone.
ShareText = Annotated[str, Field(pattern=r"^ *[0-9]+(\.[0-9]+)? *% *$")]


def parse_share(value: object) -> object:
    """`5%` to 0.05; a number is a share already."""
    if not isinstance(value, str):
        return value
    number = value.strip().removesuffix("%")
    try:
        share = float(number) / (100 if value.strip().endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not math.isfinite(share):
        raise ValueError(f"found {value!r}, which is no share; write '5%'")
    return share


def write_share(share: float) -> str:
    """What `parse_share` reads: a dumped matrix can be read again."""
    return f"{share * 100:.9f}".rstrip("0").rstrip(".") + "%"


#: More than nothing, less than all.
Share = Annotated[
    float,
    BeforeValidator(parse_share, json_schema_input_type=ShareText | float),
    PlainSerializer(write_share, return_type=str),
    Field(gt=0, lt=1),
]
