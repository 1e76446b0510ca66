"""What every provider offers, and the one handle that the rest of the runner knows for a thing that runs.

Nothing above this package asks which provider it has. Paths are those that services see: a provider whose services do
not share the runner's files carries over what is in private folders and in a command's `reads`, and brings back logs.
"""

import signal
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal, Protocol

#: What a part of a stack is there for.
Role = Literal["app", "database", "pooler", "load"]
#: Those that a provider starts; the load generator is the runner's own.
PLACED: tuple[Role, ...] = ("app", "database", "pooler")


@dataclass(frozen=True)
class Address:
    """Where a service listens, as seen from the runner; `inside` is where the other services of the run find it."""

    host: str
    port: int
    #: Where that is another host than for the runner.
    inside_host: str = ""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def inside(self) -> "Address":
        """What the service itself binds, and its neighbours connect to."""
        return replace(self, host=self.inside_host or self.host, inside_host="")


@dataclass(frozen=True)
class Kit:
    """Programs that come together: installed on this machine, or in an image.

    `locate` finds one of them on this machine; EnvironmentUnfit, with the remedy, where it is not installed. `image`
    is what has them where services are containers.
    """

    name: str
    image: str
    locate: Callable[[str], str] = field(compare=False)


@dataclass(frozen=True)
class Command:
    """What to start: `argv` without a shell, `env` on top of a small base environment.

    `stop_signal` is what the program takes as an order to leave in good order. `kit` is where its program comes from;
    None for one of this machine's own. `reads` are folders and files outside of the provider's own that it reads.
    `role` says what of the machine it may use.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    stop_signal: signal.Signals = signal.SIGINT
    kit: Kit | None = None
    reads: Sequence[Path] = ()
    role: Role | None = None


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
    """A running component: database, pooler, app server, or a command of the app's."""

    @property
    def name(self) -> str: ...

    @property
    def address(self) -> Address: ...

    @property
    def log_path(self) -> Path:
        """On the runner's side; see `bring_log`."""
        ...

    def bring_log(self) -> None:
        """Returns when `log_path` has all that the service has written up to now."""
        ...

    def log_tail(self, lines: int = 20) -> str: ...

    def alive(self) -> bool: ...

    @property
    def exit_code(self) -> int | None:
        """Of its first process; None while that runs, negative if a signal ended it."""
        ...

    def ending(self) -> str:
        """How its first process ended, in words."""
        ...

    def starved(self) -> bool:
        """Whether one of its processes was killed for want of memory, though the service lives on."""
        ...

    def wait(self, limit: float) -> bool:
        """Waits until its first process has ended by itself; whether it has."""
        ...

    def signal(self, number: signal.Signals) -> None:
        """To its first process, which is the one that the others look to."""
        ...

    def suspend(self) -> None:
        """Has all its processes stand still; `stop` makes them go on first."""
        ...

    def resume(self) -> None: ...

    def stop(self) -> None:
        """Ends every process of the service; returns when they are gone. Safe to call twice."""
        ...


class OwnService(Service, Protocol):
    """A process of the runner's own code, on the runner's machine whatever the provider."""

    @property
    def pid(self) -> int: ...


@dataclass(frozen=True)
class Held:
    """The most connections held at once, how many were opened meanwhile, and why this may be too few.

    `opened` is None where the watch cannot tell.
    """

    peak: int
    opened: int | None
    doubt: str = ""


Belongs = Callable[[int], bool]


class Watch(Protocol):
    """What clients hold to one port, from its making until `close`."""

    def close(self) -> None:
        """Ends the watch; StackError where it could not go on. Safe to call twice."""
        ...

    def held(self, first: AbstractSet[int], belongs: Belongs) -> Held:
        """After `close`: what the clients held whose port `belongs` to the account that is asked for.

        `first` are the account's client ports that were open when the watch began.
        """
        ...


class Wire(Protocol):
    """Which connections the run's services hold among each other, by the kernel's account."""

    def watch(self, port: int, host: str = "127.0.0.1") -> Watch:
        """On the way to `port` of that host."""
        ...

    def established(self, port: int) -> frozenset[int]:
        """The client ports of the connections to `port` that their clients have not closed."""
        ...


class Place(Protocol):
    """Where programs are found and run."""

    def program(self, kit: Kit, name: str) -> str:
        """How one of the kit's programs is called; EnvironmentUnfit where it is not to be had."""
        ...

    def run(self, command: Command, *, limit: float, what: str, unprivileged: bool = False) -> str:
        """Runs one command to its end and returns its output; StackError, with the output's tail, if it fails."""
        ...


class Keeper(Protocol):
    """Writes down what was started, for whoever comes after a crash."""

    def note(self, kind: str, **fields: object) -> None: ...


class Provider(Place, Protocol):
    """Starts services and ends every one of them on `close`."""

    kind: ClassVar[str]

    @property
    def folder(self) -> Path:
        """What is in it, private folders, services see at the same path."""
        ...

    @property
    def journal(self) -> Keeper: ...

    @property
    def wire(self) -> Wire: ...

    def at(self, role: Role) -> "Provider":
        """The provider of what has this role: itself, unless the parts of a stack are apart."""
        ...

    def round_trip_to(self, role: Role) -> float | None:
        """Seconds that a packet from the app's host to that of a role takes, with its answer; None where it is one."""
        ...

    @property
    def shares_sockets(self) -> bool:
        """Whether the runner reaches a service's socket files."""
        ...

    def start(
        self, name: str, command: Command, address: Address, log_path: Path, *, unprivileged: bool = False
    ) -> Service:
        """Starts a service whose output goes to `log_path`; it is tracked from its first moment."""
        ...

    def start_own(self, name: str, command: Command, log_path: Path, pass_fds: Sequence[int]) -> OwnService:
        """Starts a process of the runner's own beside the runner, which it speaks to through inherited sockets."""
        ...

    def environment(self, command: Command) -> Mapping[str, str]:
        """All that a process which this command starts has in its environment."""
        ...

    def note_shared_memory(self, service: Service) -> None:
        """Writes down what the service has in the machine's shared memory, for when it is killed."""
        ...

    def stop(self, service: Service) -> None:
        """Stops one service and forgets it."""
        ...

    def start_again(self, service: Service) -> None:
        """Starts what was stopped, at the same address; it is the same service to whoever holds it."""
        ...

    def free_address(self, reach: str | None = None) -> Address:
        """One that nothing listens on now; who loses the race for it is started anew.

        It is open to nobody but this machine, unless `reach` names an address of it at which others are to find it.
        """
        ...

    def private_folder(self, name: str, *, unprivileged: bool = False) -> Path:
        """A new folder that only the service's own user may enter."""
        ...

    def output(self, path: Path) -> Path:
        """Where a service may write the file that `bring` puts at `path`."""
        ...

    def bring(self, path: Path) -> None:
        """Puts there what the service has written up to now; nothing where it has written nothing."""
        ...

    def close(self) -> None:
        """Stops everything, the newest first, and leaves nothing behind."""
        ...
