"""The poolers that connbench knows: one row a pooler. One without a class is known by name alone."""

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from runner.stacks.poolers.base import Pooler, PoolerSpec
from runner.stacks.poolers.pgbouncer import PgBouncer, PgBouncerSpec
from runner.stacks.poolers.proxysql import ProxySQLSpec

_ROWS: tuple[tuple[str, type[PoolerSpec], type[Pooler] | None], ...] = (
    ("pgbouncer", PgBouncerSpec, PgBouncer),
    ("proxysql", ProxySQLSpec, None),
)

#: By the `kind` of a matrix: those that run.
POOLERS: Mapping[str, type[Pooler]] = {kind: pooler for kind, _, pooler in _ROWS if pooler is not None}
#: The name of no pooler on the axis `pooler`.
NO_POOLER = "none"

if TYPE_CHECKING:
    AnyPoolerSpec = PoolerSpec
else:
    #: What a matrix may say of a pooler; the kind decides which of the specs it is.
    AnyPoolerSpec = Annotated[reduce(or_, (spec for _, spec, _ in _ROWS)), Field(discriminator="kind")]


def make_pooler(spec: PoolerSpec) -> Pooler:
    """The pooler that a spec asks for, not started yet."""
    return POOLERS[spec.kind](spec)


__all__ = ["NO_POOLER", "POOLERS", "AnyPoolerSpec", "Pooler", "PoolerSpec", "make_pooler"]
