"""matrix.yaml as typed models. Units are part of a value: `4s`, `250ms`."""

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator, model_validator

from runner.durations import Duration
from runner.load.entries import parse_host
from runner.matrix.limits import AdviseSpec
from runner.matrix.phases import Phases
from runner.matrix.slo import Rate, SearchSpec, ServiceLevel, refuse_mismatch
from runner.models import Strict
from runner.provision.roles import Hosts, Roles
from runner.shares import Share
from runner.stacks.app import Timing
from runner.stacks.connection import ConnectionSpec
from runner.stacks.databases import AnyDatabaseSpec
from runner.stacks.poolers import NO_POOLER, AnyPoolerSpec
from runner.stacks.servers import AnyServerSpec
from runner.stacks.versions import VersionsSpec

_NAME = "[a-z0-9][a-z0-9_-]{0,40}"
Name = Annotated[str, Field(pattern=f"^{_NAME}$")]
#: A name of this project's own, or a path (with a `/` in it) from the matrix file's folder.
NameOrPath = Annotated[str, Field(pattern=f"^({_NAME}|.*/.*)$")]


def check_host(text: str) -> str:
    """A load host's name, or where ssh finds it."""
    parse_host(text)
    return text


LoadHost = Annotated[str, AfterValidator(check_host)]


def check_reach(text: str) -> str:
    """One address, since what listens there is open to whoever reaches it."""
    try:
        address = IPv4Address(text)
    except ValueError:
        address = None
    if address is None or address.is_unspecified or address.is_multicast:
        raise ValueError(f"found {text!r}, allowed: one IPv4 address of this machine, such as 10.0.0.1")
    return text


Reach = Annotated[str, AfterValidator(check_reach)]


class LoadSpec(Strict):
    """How a cell is driven.

    In the closed model each of `users` sends its next request when the last is answered. In the open model `rate`
    requests a second are due, whatever the server does, and `users` is how many can be under way at once.
    """

    #: `locustfiles/<name>.py`, or a Locust file by its path; an app at a path brings its own.
    profile: NameOrPath = "mixed"
    model: Literal["closed", "open"] = "closed"
    rate: Rate = None
    #: With `rate: search`, which finds the highest rate that keeps it; the count is then a closed one.
    slo: ServiceLevel | None = None
    search: SearchSpec = Field(default_factory=SearchSpec)
    arrivals: Literal["uniform", "poisson"] = "uniform"
    users: int = Field(default=16, ge=1, le=10_000)
    #: Processes of the load generator, for rates that one core cannot make; users and arrivals are split among them.
    workers: int = Field(default=1, ge=1, le=64)
    #: Where those processes run, dealt out evenly; on this machine unless told. A name is joined by hand.
    hosts: list[LoadHost] = Field(default_factory=list)
    #: The address of this machine at which `hosts` find it: the app then listens there, and so does connbench.
    reach: Reach | None = None
    keep_alive: bool = True
    #: The contiguous stretch in which connections are counted; it is the warm-up too.
    count: Duration = 4.0
    #: After the count: what is still connected at its end lingers.
    idle: Duration = 2.0
    windows: int = Field(default=8, ge=0, le=1000)
    window: Duration = 1.0
    #: The start of each window that is driven but not measured, while clients and connections come back: a cooperative
    #: worker opens a connection for each client anew, and a new backend's first statements are slow.
    lead_in: Duration = 0.3
    #: A list under the file's `phases:`, which takes the place of count, idle and windows.
    phases: Name | None = None
    #: What the app says with each answer: how long it took and on what (`full`), how long alone, or neither.
    timing: Timing = "full"

    @model_validator(mode="after")
    def _rate_belongs_to_the_open_model(self) -> Self:
        refuse_mismatch(self.model, self.rate, self.slo)
        if self.searches and self.phases is not None:
            raise ValueError("`rate: search` has no place among `phases:`, which are driven at one rate")
        return self

    @model_validator(mode="after")
    def _each_worker_has_a_user(self) -> Self:
        if self.workers > self.users:
            raise ValueError(f"{self.workers} workers for {self.users} users: each worker needs one or more")
        return self

    @model_validator(mode="after")
    def _each_host_has_a_worker_and_finds_this_machine(self) -> Self:
        names = [parse_host(host).name for host in self.hosts]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"hosts: {', '.join(sorted(twice))} is there twice")
        if len(names) > self.workers:
            raise ValueError(f"{self.workers} workers for {len(names)} hosts: each host needs one or more")
        if bool(names) != (self.reach is not None):
            raise ValueError("`hosts:` and `reach:` (the address of this machine at which they find it) go together")
        return self

    @property
    def pace(self) -> dict[str, Any]:
        """What a generator needs beyond users: nothing in the closed model, nor while no rate is known."""
        return {"rate": self.rate, "arrivals": self.arrivals} if isinstance(self.rate, float) else {}

    @property
    def searches(self) -> bool:
        """Whether its rate is to be found."""
        return self.rate == "search"


class SamplingSpec(Strict):
    """How often the database and the host are looked at, per second."""

    database: float = Field(default=20.0, gt=0, le=200)
    host: float = Field(default=5.0, gt=0, le=50)


class Bound(Strict):
    """The least and the most that a metric may be; at least one of the two."""

    at_most: float | None = Field(default=None, allow_inf_nan=False)
    at_least: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _bounds_something(self) -> Self:
        if self.at_most is None and self.at_least is None:
            raise ValueError("no bound; write `at_most:` or `at_least:`, or both")
        if self.at_most is not None and self.at_least is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least:g} is above at_most {self.at_most:g}: nothing can be both")
        return self


class Expectation(Bound):
    """A bound on one metric of the cells that `where` selects by axis value: breaking it fails the run.

    Written flat in the file, and made into this by the reader: `{where: {server: uwsgi}, connections.peak:
    {at_most: 16}}`. A list of values in `where` stands for any of them.
    """

    where: Mapping[str, Any] = Field(default_factory=dict)
    metric: str


class BlockRange(Strict):
    """As many blocks as it takes: `max`, or fewer, but `min`, once every comparison's interval is within `until`."""

    min: int = Field(default=3, ge=2, le=1000)
    max: int = Field(default=12, ge=2, le=1000)
    until: Share = 0.05

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


#: A number, or a range; told apart by what was written, so that a mistake is explained once.
Blocks = Annotated[
    Annotated[int, Field(ge=1, le=1000), Tag("int")] | Annotated[BlockRange, Tag("BlockRange")],
    Discriminator(lambda value: "BlockRange" if isinstance(value, Mapping | BlockRange) else "int"),
]


class Condition(Strict):
    """Under which a documented claim holds all the same: `expect` is what is then measured."""

    says: str
    expect: list[Expectation] = Field(min_length=1)


class ClaimSpec(Strict):
    """A documented claim that the matrix is an experiment on.

    It holds if every bound of the matrix's own `expect:` does; else under the first of `conditions` whose bounds all
    do; else it does not hold. `packages` are those whose versions belong to the answer.
    """

    number: int = Field(ge=1, le=99)
    says: str
    page: str
    url: str
    how: str
    packages: list[str] = Field(default_factory=list)
    conditions: list[Condition] = Field(default_factory=list)


class MatrixFile(Strict):
    """A whole matrix file."""

    name: Name
    #: `apps/<name>/`, or the path of an app.yaml.
    app: NameOrPath = "shop"
    load: LoadSpec = Field(default_factory=LoadSpec)
    sampling: SamplingSpec = Field(default_factory=SamplingSpec)
    #: Package to version for every cell, where it is not the locked one.
    versions: VersionsSpec = Field(default_factory=VersionsSpec)
    #: What the parts of every stack may use of the machine.
    roles: Roles = Field(default_factory=Roles)
    #: The Docker engines that have the app, the database and the pooler, where they are to be on hosts of their own.
    hosts: Hosts | None = None
    blocks: Blocks = 3
    databases: Mapping[Name, AnyDatabaseSpec] = Field(min_length=1)
    servers: Mapping[Name, AnyServerSpec] = Field(min_length=1)
    connections: Mapping[Name, ConnectionSpec] = Field(min_length=1)
    #: Name to a list of phases, for `load.phases`.
    phases: Mapping[Name, Phases] = Field(default_factory=dict)
    #: What stands between app and database; `none` is there without being named.
    poolers: Mapping[Name, AnyPoolerSpec] = Field(default_factory=dict)
    #: Axis to its values: `database`, `server`, `connection`, `pooler`, or a dotted parameter such as `load.users`.
    matrix: Mapping[str, Annotated[list[Any], Field(min_length=1)]] = Field(min_length=1)
    exclude: list[Mapping[str, Any]] = Field(default_factory=list)
    expect: list[Expectation] = Field(default_factory=list)
    claim: ClaimSpec | None = None
    #: What `connbench advise` has to keep to.
    advise: AdviseSpec | None = None
    #: The connection settings that ratios are taken to; the first of the connection axis unless told.
    reference: Name | None = None

    @field_validator("poolers", mode="after")
    @classmethod
    def _none_is_no_pooler(cls, poolers: Mapping[str, Any]) -> Mapping[str, Any]:
        if NO_POOLER in poolers:
            raise ValueError(f"{NO_POOLER} stands for no pooler: give this one another name")
        return poolers
