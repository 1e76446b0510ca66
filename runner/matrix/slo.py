"""A service level, and how a rate is searched that keeps it."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from runner.durations import Duration
from runner.models import Strict
from runner.shares import ShareText, parse_share, write_share

#: More arrivals than this that never left are a queue that grows, not the chance of the moment at which driving ended.
LEFT_BEHIND = 0.01
_HIGHEST_RATE = 100_000.0

RateValue = Annotated[float, Field(gt=0, le=_HIGHEST_RATE)] | Literal["search"]


def parse_percentage(value: object) -> object:
    """`0.1%` to a share of one; a bare number is refused, since it could be either."""
    if not isinstance(value, str) or not value.strip().endswith("%"):
        raise ValueError(f"found {value!r}, allowed: a percentage such as '0.1%'")
    return parse_share(value)


#: A share of one, written in percent.
Percentage = Annotated[
    float,
    BeforeValidator(parse_percentage, json_schema_input_type=ShareText),
    PlainSerializer(write_share, return_type=str),
    Field(ge=0, le=1),
]


def check_rate(value: object) -> object:
    """Requests a second, or `search`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None or value == "search" or (number and 0 < float(value) <= _HIGHEST_RATE):  # type: ignore[arg-type]
        return float(value) if number else value  # type: ignore[arg-type]
    raise ValueError(f"found {value!r}, allowed: requests a second, more than 0 and at most 100,000, or search")


#: Requests a second, or that they are searched.
Rate = Annotated[float | Literal["search"] | None, BeforeValidator(check_rate, json_schema_input_type=RateValue | None)]


class ServiceLevel(Strict):
    """Quantiles of response time, from when a request was due, and the share of requests that may fail."""

    p50: Duration | None = None
    p90: Duration | None = None
    p95: Duration | None = None
    p99: Duration | None = None
    errors: Percentage = 0.001

    @model_validator(mode="after")
    def _bounds_a_time(self) -> Self:
        if not self.bounds:
            raise ValueError("a service level bounds one or more of p50, p90, p95 and p99")
        return self

    @property
    def bounds(self) -> dict[str, float]:
        """Quantile to seconds."""
        return {name: value for name in ("p50", "p90", "p95", "p99") if (value := getattr(self, name)) is not None}


class SearchSpec(Strict):
    """How long each rate is driven, and how close the rate held and the rate missed are to be in the end."""

    step: Duration = 2.0
    precision: Percentage = Field(default=0.05, ge=0.005, le=0.5)


def refuse_mismatch(model: str, rate: Any, slo: ServiceLevel | None) -> None:
    """ValueError where the model, the rate and the service level do not go together."""
    if (model == "open") != (rate is not None):
        raise ValueError("`model: open` and `rate:` (requests a second, or search) go together")
    if (rate == "search") != (slo is not None):
        raise ValueError("`rate: search` and `slo:` (what the rate is to keep) go together")
