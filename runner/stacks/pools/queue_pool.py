"""The pools that are SQLAlchemy's `QueuePool` underneath: django-db-connection-pool and django-postgrespool2."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from runner.durations import Duration
from runner.stacks.databases.base import DatabaseSpec
from runner.stacks.pools.base import Demand, FoundPool, PoolBounds, PoolSpec
from runner.stacks.servers.base import ServerSpec


class QueuePoolSpec(PoolSpec):
    """`sqlalchemy.pool.QueuePool`'s parameters by its own names; subclasses have their package's defaults."""

    #: Connections that stay open; 0 is without limit.
    pool_size: int = Field(ge=0, le=1000)
    #: Connections beyond `pool_size` while they are needed; each is closed when it comes back. -1 is without limit.
    max_overflow: int = Field(default=10, ge=-1, le=1000)
    #: A connection that is older is opened anew when it is taken; null is never.
    recycle: Duration | None
    #: How long a request waits for a connection: then it fails with a TimeoutError.
    timeout: Duration = 30.0
    #: Asks a connection whether it still works before it is handed out.
    pre_ping: bool

    @property
    def parameters(self) -> dict[str, Any]:
        """As QueuePool takes them: seconds, and -1 for a connection that is never too old."""
        return {
            "pool_size": self.pool_size,
            "max_overflow": self.max_overflow,
            "recycle": -1 if self.recycle is None else self.recycle,
            "timeout": self.timeout,
            "pre_ping": self.pre_ping,
        }

    def why_impossible(self, database: DatabaseSpec, server: ServerSpec, conn_max_age: int | None) -> str | None:
        threads, room = server.threads_per_process, self.pool_size + self.max_overflow
        unlimited = self.pool_size == 0 or self.max_overflow == -1
        if conn_max_age == 0 or threads is None or unlimited or threads <= room:
            return None
        return (
            f"with conn_max_age other than 0 each of {threads} threads keeps its connection, and pool_size + "
            f"max_overflow have room for {room}: the others' queries are a TimeoutError after {self.timeout:g} s"
        )

    def bounds(self, demand: Demand) -> PoolBounds:
        """QueuePool opens a connection only when it has none to hand out, and never one ahead of need."""
        unlimited = self.pool_size == 0 or self.max_overflow == -1
        largest = self.pool_size + self.max_overflow
        if unlimited or largest > demand.requests:
            most, words = demand.requests, f"{demand.requests} {demand.noun} at once"
        else:
            most, words = largest, f"(pool_size {self.pool_size} + max_overflow {self.max_overflow})"
        # What Django never gives back is not closed for being too many.
        kept = most if self.pool_size == 0 or demand.persistent else min(most, self.pool_size)
        if kept < most:
            words += f", pool_size {self.pool_size} of them kept"
        recycled = self.recycle is not None and self.recycle <= demand.seconds
        opened = None if kept < most or recycled else most
        return PoolBounds(least=1, most=most, kept_least=0 if recycled else 1, kept=kept, opened=opened, words=words)


def _as_spec(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """QueuePool's own parameters as a spec has them: what is never too old is -1 there."""
    return {name: None if (name, value) == ("recycle", -1) else value for name, value in parameters.items()}


class DjDbConnPoolSpec(QueuePoolSpec):
    """django-db-connection-pool (`dj_db_conn_pool`), with its own defaults."""

    own_keys: ClassVar[frozenset[str]] = frozenset({"POOL_OPTIONS"})

    kind: Literal["dj_db_conn_pool"]
    pool_size: int = Field(default=10, ge=0, le=1000)
    recycle: Duration | None = 900.0
    pre_ping: bool = True

    @property
    def packages(self) -> frozenset[str]:
        return frozenset({"django-db-connection-pool"})

    def database(self, settings: dict[str, Any], driver: str) -> dict[str, Any]:
        engine = settings["ENGINE"].replace("django.db.backends.", "dj_db_conn_pool.backends.")
        options = {name.upper(): value for name, value in self.parameters.items()}
        return {**settings, "ENGINE": engine, "POOL_OPTIONS": options}

    @classmethod
    def found_in(cls, database: Mapping[str, Any], settings: Mapping[str, Any]) -> FoundPool | None:
        if not str(database.get("ENGINE", "")).startswith("dj_db_conn_pool."):
            return None
        # The package takes names in capitals, and passes over all others.
        given = {name.lower(): value for name, value in database.get("POOL_OPTIONS", {}).items() if name.isupper()}
        return FoundPool("dj_db_conn_pool", _as_spec(given))


class PostgresPool2Spec(QueuePoolSpec):
    """django-postgrespool2, with its own defaults. One pool a process, told by `DATABASE_POOL_ARGS`."""

    kind: Literal["postgrespool2"]
    pool_size: int = Field(default=5, ge=0, le=1000)
    recycle: Duration | None = 300.0
    pre_ping: bool = False

    @property
    def packages(self) -> frozenset[str]:
        return frozenset({"django-postgrespool2"})

    def database(self, settings: dict[str, Any], driver: str) -> dict[str, Any]:
        return {**settings, "ENGINE": "django_postgrespool2"}

    @property
    def django_settings(self) -> dict[str, Any]:
        return {"DATABASE_POOL_ARGS": self.parameters}

    @classmethod
    def found_in(cls, database: Mapping[str, Any], settings: Mapping[str, Any]) -> FoundPool | None:
        if database.get("ENGINE") != "django_postgrespool2":
            return None
        return FoundPool("postgrespool2", _as_spec(settings.get("DATABASE_POOL_ARGS", {})), "psycopg2")

    def why_impossible(self, database: DatabaseSpec, server: ServerSpec, conn_max_age: int | None) -> str | None:
        if database.driver != "psycopg2":
            return "django-postgrespool2 is written for psycopg2: with another driver its backend cannot be imported"
        return super().why_impossible(database, server, conn_max_age)
