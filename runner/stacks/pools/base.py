"""What the runner asks of a connection pool inside Django's process, whichever it is."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from runner.models import Strict
from runner.stacks.databases.base import DatabaseSpec
from runner.stacks.servers.base import ServerSpec


@dataclass(frozen=True)
class Demand:
    """What one process asks of its pool: at most `requests` connections at once, for `seconds` seconds.

    `noun` is what bounds them: `threads` or `requests`. `persistent` says that Django gives a connection back
    not with the end of a request but when `CONN_MAX_AGE` is over.
    """

    requests: int
    noun: str
    seconds: float
    persistent: bool = False


@dataclass(frozen=True)
class PoolBounds:
    """What the pool of one process holds, once that process has served a request.

    `least` and `most` bound the connections under load, `kept_least` and `kept` those that stay when it has
    stopped. `opened` bounds how many are opened in all; None where the pool closes some and opens them anew.
    """

    least: int
    most: int
    kept_least: int
    kept: int
    opened: int | None
    words: str


@dataclass(frozen=True)
class FoundPool:
    """A pool that a project's own settings have: `parameters` by the spec's names, with the values that stand there.

    `driver` is the one that its engine is bound to, empty where Django chooses; `options` are the names in `OPTIONS`
    that are the pool's and not the driver's.
    """

    kind: str
    parameters: Mapping[str, Any]
    driver: str = ""
    options: frozenset[str] = frozenset()


class PoolSpec(Strict):
    """A pool as the matrix names it. Subclasses fix `kind`; their other fields are the pool's own parameters.

    Every pool here belongs to a process: a deployment has as many as it has worker processes.
    """

    kind: str
    #: The keys of `DATABASES[...]`, and of its `OPTIONS`, that are this pool's alone: another way to hold connections
    #: has to be without them.
    own_keys: ClassVar[frozenset[str]] = frozenset()
    own_options: ClassVar[frozenset[str]] = frozenset()

    @property
    @abstractmethod
    def packages(self) -> frozenset[str]:
        """What the app's environment must have, by the names of the package index."""

    @abstractmethod
    def database(self, settings: dict[str, Any], driver: str) -> dict[str, Any]:
        """`DATABASES["default"]` with the pool in it."""

    @classmethod
    @abstractmethod
    def found_in(cls, database: Mapping[str, Any], settings: Mapping[str, Any]) -> FoundPool | None:
        """What `database` has made, read back from a project's own `DATABASES["default"]`; None if it is not this pool.

        `settings` are those beside `DATABASES` that have POOL in their names.
        """

    @property
    def django_settings(self) -> Mapping[str, Any]:
        """Settings beside `DATABASES` by which the pool is told."""
        return {}

    @property
    def opens_in_threads(self) -> bool:
        """Whether connections are opened by threads of the pool's own."""
        return False

    @abstractmethod
    def why_impossible(self, database: DatabaseSpec, server: ServerSpec, conn_max_age: int | None) -> str | None:
        """What goes wrong in this company, as tried; None if it works."""

    @abstractmethod
    def bounds(self, demand: Demand) -> PoolBounds: ...
