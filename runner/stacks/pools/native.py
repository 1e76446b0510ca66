"""Django's own pool for PostgreSQL: `OPTIONS["pool"]`, handed to `psycopg_pool.ConnectionPool`."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from runner.durations import Duration
from runner.stacks.databases.base import DatabaseSpec
from runner.stacks.pools.base import Demand, FoundPool, PoolBounds, PoolSpec
from runner.stacks.servers.base import ServerSpec


class NativePoolSpec(PoolSpec):
    """`psycopg_pool.ConnectionPool`'s parameters by its own names; what is left out has the pool's own default.

    Those that are missing here are Django's (`kwargs`, `open`, `configure`, and `check`, which follows
    `conn_health_checks`: given twice they are a TypeError) or take Python objects (`connection_class`, `reset`,
    `reconnect_failed`).
    """

    own_options: ClassVar[frozenset[str]] = frozenset({"pool"})

    kind: Literal["native"]
    min_size: int = Field(default=4, ge=0, le=1000)
    max_size: int | None = Field(default=None, ge=1, le=1000)
    #: How long a request waits for a connection: then it fails with a PoolTimeout. 30 s.
    timeout: Duration | None = None
    #: How many requests may wait; one more fails at once with TooManyRequests. 0 is without limit.
    max_waiting: int | None = Field(default=None, ge=0)
    #: After this a connection is replaced when it comes back. 1 h.
    max_lifetime: Duration | None = None
    #: After this a connection beyond `min_size` that was not needed is closed. 10 min.
    max_idle: Duration | None = None
    #: For how long a connection that cannot be opened is tried again. 5 min.
    reconnect_timeout: Duration | None = None
    #: Threads that open connections. 3.
    num_workers: int | None = Field(default=None, ge=1, le=100)
    name: str | None = None
    close_returns: bool | None = None

    @property
    def packages(self) -> frozenset[str]:
        return frozenset({"psycopg-pool"})

    @property
    def opens_in_threads(self) -> bool:
        return True

    def database(self, settings: dict[str, Any], driver: str) -> dict[str, Any]:
        # Not dumped: that would write durations as a matrix file does, and the pool wants seconds.
        pool = {name: value for name, value in self if name != "kind" and value is not None}
        return {**settings, "OPTIONS": {**settings.get("OPTIONS", {}), "pool": pool}}

    @classmethod
    def found_in(cls, database: Mapping[str, Any], settings: Mapping[str, Any]) -> FoundPool | None:
        # As Django has it: True is the pool's own defaults, and an empty mapping is no pool.
        pool = database.get("OPTIONS", {}).get("pool")
        if not pool:
            return None
        given = pool if isinstance(pool, Mapping) else {}
        # The name is for logs, and None is what it has where it is not given.
        parameters = {name: value for name, value in given.items() if name != "name" and value is not None}
        return FoundPool("native", parameters, options=frozenset({"pool"}))

    def why_impossible(self, database: DatabaseSpec, server: ServerSpec, conn_max_age: int | None) -> str | None:
        if database.engine != "postgres":
            return "Django's native pool is PostgreSQL's alone: on MySQL and MariaDB the first query is a TypeError"
        if database.driver == "psycopg2":
            return "Django's native pool needs psycopg 3: with psycopg2 the first query is an ImproperlyConfigured"
        if conn_max_age != 0:
            age = "null" if conn_max_age is None else conn_max_age
            return f"a pool needs conn_max_age 0, not {age}: otherwise the first query is an ImproperlyConfigured"
        return self._wrong_size()

    def _wrong_size(self) -> str | None:
        # Without max_size a pool is exactly as large as min_size.
        if self.max_size is None and self.min_size == 0:
            return "min_size 0 needs a max_size: without it the pool's size is 0 and the first query is a ValueError"
        if self.max_size is None or self.max_size >= self.min_size:
            return None
        default = "" if "min_size" in self.model_fields_set else " (its default)"
        return f"max_size {self.max_size} is below min_size {self.min_size}{default}: the first query is a ValueError"

    def bounds(self, demand: Demand) -> PoolBounds:
        """The first request finds the pool still empty and lets it grow by one; after that it grows on demand.

        It shrinks to `min_size` when `max_idle` is over, and replaces what is older than `max_lifetime` (less a
        random 5 %) after it has closed it.
        """
        largest = self.min_size if self.max_size is None else self.max_size
        most = min(largest, max(self.min_size + 1, demand.requests))
        if most == largest:
            words = f"max_size {largest}"
        elif most == self.min_size + 1:
            words = f"{most} (min_size + 1)"
        else:
            words = f"{most} {demand.noun} at once"
        least = max(1, self.min_size)
        replaced = self.max_lifetime is not None and self.max_lifetime * 0.95 <= demand.seconds
        shrinks = self.max_idle is not None and self.max_idle <= demand.seconds
        if replaced:
            words += ", replaced when older than max_lifetime"
        if shrinks:
            words += ", fewer after max_idle"
        kept = 0 if replaced else self.min_size if shrinks else least
        return PoolBounds(
            least=1 if replaced else least,
            most=most,
            kept_least=kept,
            kept=most,
            opened=None if replaced or shrinks else most,
            words=words,
        )
