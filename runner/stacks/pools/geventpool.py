"""django-db-geventpool: a pool for greenlets."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from runner.stacks.databases.base import DatabaseSpec
from runner.stacks.pools.base import Demand, FoundPool, PoolBounds, PoolSpec
from runner.stacks.servers.base import ServerSpec

_BACKENDS = "django_db_geventpool.backends."
_ENGINES = {"psycopg": "postgresql_psycopg3", "psycopg2": "postgresql_psycopg2"}
_OPTIONS = frozenset({"MAX_CONNS", "REUSE_CONNS"})


class GeventPoolSpec(PoolSpec):
    """Its two parameters by their own names in lower case: `MAX_CONNS` and `REUSE_CONNS`."""

    own_options: ClassVar[frozenset[str]] = frozenset({"MAX_CONNS", "REUSE_CONNS"})

    kind: Literal["geventpool"]
    max_conns: int = Field(default=4, ge=1, le=1000)
    #: How many stay open; as many as `max_conns` unless told.
    reuse_conns: int | None = Field(default=None, ge=1, le=1000)

    @property
    def packages(self) -> frozenset[str]:
        return frozenset({"django-db-geventpool"})

    def database(self, settings: dict[str, Any], driver: str) -> dict[str, Any]:
        pool = {"MAX_CONNS": self.max_conns, "REUSE_CONNS": self.reuse_conns or self.max_conns}
        options = {**settings.get("OPTIONS", {}), **pool}
        engine = f"{_BACKENDS}{_ENGINES.get(driver, driver)}"
        return {**settings, "ENGINE": engine, "OPTIONS": options}

    @classmethod
    def found_in(cls, database: Mapping[str, Any], settings: Mapping[str, Any]) -> FoundPool | None:
        engine = str(database.get("ENGINE", ""))
        if not engine.startswith(_BACKENDS):
            return None
        given = {name.lower(): value for name, value in database.get("OPTIONS", {}).items() if name in _OPTIONS}
        driver = next((driver for driver, name in _ENGINES.items() if engine == f"{_BACKENDS}{name}"), "")
        return FoundPool("geventpool", given, driver, _OPTIONS)

    def why_impossible(self, database: DatabaseSpec, server: ServerSpec, conn_max_age: int | None) -> str | None:
        if database.engine != "postgres":
            return "django-db-geventpool is PostgreSQL's alone: it has no backend for MySQL and MariaDB"
        return None

    def bounds(self, demand: Demand) -> PoolBounds:
        """Whoever finds the pool below `max_conns` opens a connection, and counts only once it is open: requests
        that arrive meanwhile open theirs too. What comes back beyond `reuse_conns` is closed.
        """
        kept = min(demand.requests, self.reuse_conns or self.max_conns)
        if demand.requests <= self.max_conns:
            words = f"{demand.requests} {demand.noun} at once"
        else:
            words = f"{demand.requests} {demand.noun} at once while they connect (max_conns {self.max_conns} later)"
        return PoolBounds(
            least=1,
            most=demand.requests,
            kept_least=1,
            kept=kept,
            opened=None if kept < demand.requests else demand.requests,
            words=words,
        )
