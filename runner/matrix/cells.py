"""A cell: one combination of axis values, resolved to the parameters of each thing in its stack."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.matrix.phases import PhaseSpec
from runner.matrix.spec import LoadSpec
from runner.stacks.connection import ConnectionSpec
from runner.stacks.databases import AnyDatabaseSpec
from runner.stacks.dependencies import AppPackages
from runner.stacks.packages import environment_with
from runner.stacks.poolers import AnyPoolerSpec
from runner.stacks.servers import AnyServerSpec
from runner.stacks.versions import Recipe, recipe

#: Steps of a rate search as a rule: three of growth, four of bisection, and every miss tried twice.
EXPECTED_STEPS = 11


@dataclass(frozen=True)
class Cell:
    """`axes` holds the values by which it is selected; `reference` is the id of what it is compared with."""

    id: str
    axes: Mapping[str, Any]
    app: str
    database_name: str
    server_name: str
    connection_name: str
    database: AnyDatabaseSpec
    server: AnyServerSpec
    connection: ConnectionSpec
    load: LoadSpec
    reference: str | None
    #: Package to version where it is not the locked one.
    versions: Mapping[str, str] = field(default_factory=dict)
    #: What stands between app and database; None where the app connects to the database itself.
    pooler: AnyPoolerSpec | None = None
    #: What takes the place of count, idle and windows; empty in the default attempt.
    phases: tuple[PhaseSpec, ...] = ()
    #: What the app asks for beside servers and drivers; None where the locked set has all that it needs.
    app_packages: AppPackages | None = None
    #: Further aliases under which the app reaches the same database.
    replicas: int = 0

    @property
    def serves(self) -> bool:
        """Whether the app server runs at all: not where its place is taken by a command from the first phase on."""
        return not (self.phases and self.phases[0].replaces_server)

    @property
    def driven_seconds(self) -> float:
        """Seconds under load, lead-ins left out."""
        if self.phases:
            return sum(phase.drive or 0.0 for phase in self.phases)
        return self.load.count + self.search_seconds + self.load.windows * self.load.window

    @property
    def search_seconds(self) -> float:
        """Seconds that the search of a rate takes, about."""
        return EXPECTED_STEPS * self.load.search.step if self.load.searches else 0.0

    @property
    def planned_seconds(self) -> float:
        """Seconds that are laid down for one attempt: count, idle time and windows, or the phases."""
        if self.phases:
            return sum(phase.seconds for phase in self.phases)
        return self.driven_seconds + self.load.idle + self.load.windows * self.load.lead_in

    @property
    def environment(self) -> Recipe:
        """What the app runs in: the first locked set that has what each part needs, and the versions asked for."""
        found = environment_with(self.database.packages | self.server.packages | self.connection.packages)
        assert found is not None, "a rule skips cells that no environment fits"
        return recipe(found, self.versions, system_python=self.server.system_python, app=self.app_packages)

    @property
    def client_keep_alive(self) -> bool:
        """Whether a client connection really carries several requests: both sides must want it."""
        return self.load.keep_alive and self.server.keeps_clients_alive


@dataclass(frozen=True)
class SkippedCell:
    """A combination that cannot exist, and why."""

    id: str
    axes: Mapping[str, Any]
    reason: str


@dataclass(frozen=True)
class Prediction:
    """How many connections a cell should hold, from its parameters alone.

    `min` and `max` bound the peak under load; `max` None is "without bound", and `formula` then names what
    bounds it. `opened_per_request` is None where connections are reused, so that it depends on how long the
    load lasts. `opened_max` bounds the connections opened altogether, None without bound. `lingering_*` bound
    what is left after the idle time. `opened_more_per_request` is what the replacing of workers adds to
    `opened_max` for each request. `refusals` says that the cell may want more than the database lets in: refused
    connections and failed requests are then part of the prediction. `broken` says why the stack cannot work,
    whatever it is seen to do; empty where it can.

    Behind a pooler these are the pooler's connections to the database; `clients` are the app's to the pooler.
    """

    min: int
    max: int | None
    formula: str
    opened_per_request: float | None
    opened_max: int | None
    lingering_min: int
    lingering_max: int | None
    refusals: bool = False
    opened_more_per_request: float = 0.0
    broken: str = ""
    clients: "Prediction | None" = None


def own_engines(cells: Iterable[Cell]) -> set[str]:
    """Of the databases that a run starts itself."""
    return {cell.database.engine for cell in cells if not cell.database.hosted}
