"""The pools inside Django's process that connbench knows: one row a pool."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from runner.stacks.pools.base import Demand, PoolBounds, PoolSpec
from runner.stacks.pools.geventpool import GeventPoolSpec
from runner.stacks.pools.native import NativePoolSpec
from runner.stacks.pools.queue_pool import DjDbConnPoolSpec, PostgresPool2Spec

POOLS: tuple[type[PoolSpec], ...] = (NativePoolSpec, DjDbConnPoolSpec, PostgresPool2Spec, GeventPoolSpec)

if TYPE_CHECKING:
    AnyPoolSpec = PoolSpec
else:
    #: What a matrix may say of a pool; its kind decides which of the specs it is.
    AnyPoolSpec = Annotated[reduce(or_, POOLS), Field(discriminator="kind")]

__all__ = ["POOLS", "AnyPoolSpec", "Demand", "PoolBounds", "PoolSpec"]
