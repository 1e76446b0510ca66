"""An attempt's measured part as a list of phases, where it is not count, idle and windows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from runner.durations import Duration
from runner.models import Strict

Fault = Literal["restart-database", "kill-connections", "pause-database", "reload-workers"]

#: These hit the whole database server, so the cell has one that no other cell depends on.
SERVER_FAULTS: frozenset[Fault] = frozenset({"restart-database", "pause-database"})
#: After these the app has to open its connections anew.
CUTTING_FAULTS: frozenset[Fault] = frozenset({"restart-database", "kill-connections", "reload-workers"})

PAUSE_SECONDS = 2.0
_KINDS = ("drive", "idle", "command", "fault")


class PhaseSpec(Strict):
    """One phase: exactly one of `drive`, `idle`, `command` and `fault`.

    Load that has begun with `drive` goes on through the faults and the commands beside it that follow, up to the end
    of the next `drive`; `idle`, and a command in place of the app server, end it.
    """

    #: Load for so long.
    drive: Duration | None = None
    #: Stands still for so long.
    idle: Duration | None = None
    #: A management command of the app (`manage.py` and these arguments) with the cell's own settings and account.
    command: Annotated[list[str], Field(min_length=1)] | None = None
    #: The command starts beside the app server and may run until the last phase is over; without it, the app server
    #: is stopped first, and the next phase begins when the command has ended.
    beside: bool = False
    fault: Fault | None = None
    #: How long the database stands still (pause-database).
    lasts: Duration | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        given = [name for name in _KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise ValueError(f"a phase is one of {', '.join(_KINDS)}; found {found}")
        if self.beside and self.command is None:
            raise ValueError("`beside` belongs to a command")
        if self.lasts is not None and self.fault != "pause-database":
            raise ValueError("`lasts` belongs to the fault pause-database")
        return self

    @property
    def replaces_server(self) -> bool:
        """Whether it is a command in place of the app server."""
        return self.command is not None and not self.beside

    @property
    def pause(self) -> float:
        """Seconds for which the database stands still."""
        return PAUSE_SECONDS if self.lasts is None else self.lasts

    @property
    def seconds(self) -> float:
        """What is laid down of its length: a command and a restart take as long as they take."""
        return self.drive or self.idle or (self.pause if self.fault == "pause-database" else 0.0)

    @property
    def title(self) -> str:
        """In words: `restart-database`, `drive 3 s`, `manage.py seed`."""
        if self.command is not None:
            return f"manage.py {' '.join(self.command)}"
        if self.fault is not None:
            return self.fault
        return f"drive {self.drive:g} s" if self.drive is not None else f"idle {self.idle:g} s"


def _in_order(phases: list[PhaseSpec]) -> list[PhaseSpec]:
    """Refuses what needs the app server after a command has taken its place."""
    replaced = next((index for index, phase in enumerate(phases) if phase.replaces_server), len(phases))
    for phase in phases[replaced + 1 :]:
        if phase.drive is not None or phase.beside or phase.fault == "reload-workers":
            first = phases[replaced].title
            raise ValueError(
                f"{phase.title!r} needs the app server, in whose place {first!r} has run; write `beside: true` there"
            )
    return phases


Phases = Annotated[list[PhaseSpec], Field(min_length=1), AfterValidator(_in_order)]


@dataclass(frozen=True)
class Segment:
    """Phases, each with its place in the list, during which load goes on all the time, or not at all."""

    loaded: bool
    phases: tuple[tuple[int, PhaseSpec], ...]


def segments(phases: Sequence[PhaseSpec]) -> list[Segment]:
    """The list cut where load begins and ends, as `PhaseSpec` explains."""
    found: list[Segment] = []
    for place in enumerate(phases):
        phase = place[1]
        ends = phase.idle is not None or phase.replaces_server
        before = found[-1] if found else None
        loaded = phase.drive is not None or (before is not None and before.loaded and not ends)
        if before is not None and before.loaded == loaded:
            found[-1] = Segment(loaded, (*before.phases, place))
        else:
            found.append(Segment(loaded, (place,)))
    return found


def faults(phases: Sequence[PhaseSpec]) -> frozenset[Fault]:
    """The kinds of faults among these phases."""
    return frozenset(phase.fault for phase in phases if phase.fault is not None)
