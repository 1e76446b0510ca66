"""What every provider hands back for a thing that runs: the one handle that the rest of the runner knows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Address:
    """Where a service listens, as seen from the runner."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Usage:
    """What a service has used up to now, all its processes together.

    `cpu_seconds` counts user and system time, ended children included, since the service started.
    `memory_bytes` is the proportional set size at this moment: pages shared by forked processes count once.
    """

    cpu_seconds: float
    memory_bytes: int


class Watched(Protocol):
    """What uses the machine."""

    def cpu_seconds(self) -> float:
        """User and system seconds of all its processes, ended children included; cheap."""
        ...

    def usage(self) -> Usage:
        """As `cpu_seconds`, with memory: reads the kernel's page accounting, some milliseconds a process."""
        ...


class Service(Watched, Protocol):
    """A running component: database, pooler, app server."""

    @property
    def name(self) -> str: ...

    @property
    def address(self) -> Address: ...

    @property
    def log_path(self) -> Path: ...

    def alive(self) -> bool: ...

    def log_tail(self, lines: int = 20) -> str: ...

    def suspend(self) -> None:
        """Has all its processes stand still; `stop` makes them go on first."""
        ...

    def resume(self) -> None: ...

    def stop(self) -> None:
        """Ends every process of the service; returns when they are gone. Safe to call twice."""
        ...
