"""The pools inside Django's process that connbench knows: one row a pool."""

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from runner.stacks.pools.base import Demand, FoundPool, PoolBounds, PoolSpec
from runner.stacks.pools.geventpool import GeventPoolSpec
from runner.stacks.pools.native import NativePoolSpec
from runner.stacks.pools.queue_pool import DjDbConnPoolSpec, PostgresPool2Spec

POOLS: tuple[type[PoolSpec], ...] = (NativePoolSpec, DjDbConnPoolSpec, PostgresPool2Spec, GeventPoolSpec)

if TYPE_CHECKING:
    AnyPoolSpec = PoolSpec
else:
    #: What a matrix may say of a pool; its kind decides which of the specs it is.
    AnyPoolSpec = Annotated[reduce(or_, POOLS), Field(discriminator="kind")]


def found_pool(database: Mapping[str, Any], settings: Mapping[str, Any]) -> FoundPool | None:
    """The pool that a project's own settings have; None where they have none that is known here."""
    return next((found for pool in POOLS if (found := pool.found_in(database, settings)) is not None), None)


__all__ = ["POOLS", "AnyPoolSpec", "Demand", "FoundPool", "PoolBounds", "PoolSpec", "found_pool"]
