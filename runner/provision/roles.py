"""What the parts of a stack may use of their machine: a cell is one thing, the share of the machine it has another."""

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from runner.errors import EnvironmentUnfit
from runner.models import Strict
from runner.provision.service import PLACED, Role
from runner.sizes import Size
from runner.ssh import parse_engine

#: As the kernel writes it: `0`, `0-1`, `0,2-3`; a single number needs no quotes.
CpuSet = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value, json_schema_input_type=str | int),
    Field(pattern=r"^\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*$"),
]
_TCP = re.compile(r"tcp://[A-Za-z0-9][A-Za-z0-9.-]*:\d{1,5}")
_CONTEXT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


def check_engine(text: str) -> str:
    """An engine's address or a context of Docker's; ValueError, with what is allowed, where it is neither."""
    if not _TCP.fullmatch(text) and not _CONTEXT.fullmatch(text):
        try:
            parse_engine(text)
        except ValueError as error:
            allowed = "allowed: ssh://user@host, tcp://host:port, or a context's name (docker context ls)"
            raise ValueError(f"{error}, {allowed}") from None
    return text


EngineName = Annotated[str, AfterValidator(check_engine)]


class Cores(Strict):
    """A role whose processes are bound to cores; all cores unless told."""

    cpuset: CpuSet | None = None


class Allotment(Cores):
    """The same with the most memory that a container of the role may take."""

    memory: Size | None = None


class Roles(Strict):
    """By role. The load generator runs beside the runner, whatever the provider: its memory is not bounded."""

    app: Allotment = Field(default_factory=Allotment)
    database: Allotment = Field(default_factory=Allotment)
    pooler: Allotment = Field(default_factory=Allotment)
    load: Cores = Field(default_factory=Cores)

    def cpuset(self, role: Role | None) -> str | None:
        """The cores of a role's processes; None where they may have all."""
        return None if role is None else getattr(self, role).cpuset

    def memory(self, role: Role | None) -> int | None:
        """The most bytes for one container of the role; None where there is no bound."""
        allotment = None if role is None else getattr(self, role)
        return allotment.memory if isinstance(allotment, Allotment) else None

    def given(self) -> Iterator[tuple[str, Allotment | Cores]]:
        """The roles that have an allotment, by name."""
        for role in type(self).model_fields:
            allotment = getattr(self, role)
            if allotment != type(allotment)():
                yield role, allotment

    def only(self, role: Role) -> "Roles":
        """With the allotment of one role alone."""
        return Roles.model_validate({role: getattr(self, role)})

    def refuse_beyond(self, cores: int) -> None:
        """EnvironmentUnfit where a role is bound to cores that a machine with so many does not have."""
        for role, allotment in self.given():
            beyond = [core for core in cores_of(allotment.cpuset or "") if core >= cores]
            if beyond:
                raise EnvironmentUnfit(
                    f"roles.{role}.cpuset: {allotment.cpuset} names core {beyond[0]}, and there are {cores}, from 0 on"
                )

    def refuse_memory(self) -> None:
        """EnvironmentUnfit where memory is bounded, which takes containers."""
        for role, allotment in self.given():
            if isinstance(allotment, Allotment) and allotment.memory is not None:
                raise EnvironmentUnfit(
                    f"roles.{role}.memory: only a container's memory is bounded: take it out, or use --provider docker"
                )


class Hosts(Strict):
    """Which Docker engine has the app, the database and the pooler, where they are apart.

    Engines are named as the runner reaches them (`ssh://user@host`, `tcp://host:2376`) or by a context of Docker's. The
    host's address is the one by which the others reach it too.
    """

    app: EngineName
    database: EngineName
    #: Beside the app unless told.
    pooler: EngineName | None = None

    @property
    def apart(self) -> bool:
        """Whether they are more than one."""
        return len({self.of(role) for role in PLACED}) > 1

    def of(self, role: Role) -> str:
        """The engine of a role."""
        return self.database if role == "database" else self.app if role != "pooler" else self.pooler or self.app


#: Every role may use the whole machine.
ANYTHING = Roles()


def cores_of(cpuset: str) -> list[int]:
    """`0,2-3` is 0, 2 and 3."""
    found: list[int] = []
    for part in cpuset.split(",") if cpuset else []:
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found
