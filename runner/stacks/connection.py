"""How Django is told to hold its connections."""

from typing import Any

from pydantic import Field

from runner.models import Strict
from runner.stacks.pools import AnyPoolSpec


class ConnectionSpec(Strict):
    """Django's connection settings: `DATABASES[...]`, as they are spelt there in lower case."""

    conn_max_age: int | None = Field(default=0, ge=0)
    conn_health_checks: bool = False
    #: Every view is one transaction: a view that asks nothing of the database takes a connection too.
    atomic_requests: bool = False
    #: False: each statement is in a transaction that the app must end; a connection that is kept holds it open.
    autocommit: bool = True
    #: For a pooler that gives each transaction another connection: `.iterator()` then reads all rows at once.
    disable_server_side_cursors: bool = False
    #: The driver's own parameters (`OPTIONS`), by its names.
    options: dict[str, Any] = Field(default_factory=dict)
    pool: AnyPoolSpec | None = None

    @property
    def packages(self) -> frozenset[str]:
        """What the app's environment must have, by the names of the package index."""
        return frozenset() if self.pool is None else self.pool.packages
