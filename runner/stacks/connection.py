"""How Django is told to hold its connections."""

from typing import Literal

from pydantic import Field

from runner.durations import Duration
from runner.models import Strict


class PoolSpec(Strict):
    """Django's native psycopg pool (`OPTIONS["pool"]`)."""

    kind: Literal["native"]
    min_size: int = Field(default=4, ge=0, le=1000)
    max_size: int | None = Field(default=None, ge=1, le=1000)
    timeout: Duration | None = None


class ConnectionSpec(Strict):
    """Django's connection settings: `DATABASES[...]`, as they are spelt there in lower case."""

    conn_max_age: int | None = Field(default=0, ge=0)
    conn_health_checks: bool = False
    pool: PoolSpec | None = None

    @property
    def packages(self) -> frozenset[str]:
        """What the app's environment must have, by the names of the package index."""
        return frozenset() if self.pool is None else frozenset({"psycopg-pool"})
