"""Services as process groups on this machine: the one module that owns processes.

Each service is a session of its own, so that a signal reaches all of its processes and a Ctrl-C in the
terminal reaches the runner alone, which then takes everything down in order. Whatever is started is in a journal
first; if the runner dies without a word (kill -9), a guard process cleans up by it, or else the next command does.
"""

import contextlib
import errno
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, TypedDict

import psutil

from runner import waiting
from runner.errors import StackError
from runner.provision import processes, shared_memory, wire
from runner.provision.journal import MARK, Journal, own_mark
from runner.provision.roles import ANYTHING, Roles
from runner.provision.service import Address, Command, Kit, Service, Usage, Wire

LOOPBACK = "127.0.0.1"
# Below Linux's ephemeral range (32768 and up), where an outgoing connection may take any port at any moment.
PORTS = range(15000, 32000)
# PostgreSQL, MariaDB and PgBouncer refuse root; under root they run as this user, who owns nothing else.
UNPRIVILEGED = "nobody"


#: A Python with its standard library, as our own.
PYTHON = Kit("python", "python:3.11-slim-bookworm", lambda _: sys.executable)


def own_module(module: str, *arguments: str) -> Command:
    """A process of the runner's own code: the code of this checkout, whichever one is installed."""
    root = str(Path(__file__).resolve().parents[2])
    return Command([sys.executable, "-m", module, *arguments], {"PYTHONPATH": root})


class NativeService:
    """A process group. See `runner.provision.service.Service`."""

    def __init__(
        self,
        name: str,
        process: "subprocess.Popen[bytes]",
        address: Address,
        log_path: Path,
        stop_signal: signal.Signals = signal.SIGINT,
        start: Callable[[], "subprocess.Popen[bytes]"] | None = None,
    ) -> None:
        self.name = name
        self.address = address
        self.log_path = log_path
        self.stop_signal = stop_signal
        self._start = start
        self._cpu_before = 0.0
        self._suspended: list[psutil.Process] = []
        #: What it has in the machine's shared memory, as far as it was noted.
        self.shared: list[shared_memory.Segment] = []
        self._take(process)

    def _take(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._root = psutil.Process(process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Of its first process; None while that runs, negative if a signal ended it."""
        return self._process.poll()

    def ending(self) -> str:
        """How its first process ended, in words."""
        code = self.exit_code
        if code is None:
            return "is still there"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"left with exit code {code}"

    def starved(self) -> bool:
        """No process group's memory is bounded."""
        return False

    def processes(self) -> list[psutil.Process]:
        """The service's live processes, the first one first."""
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu_seconds(self) -> float:
        total = self._cpu_before
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def usage(self) -> Usage:
        memory = 0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                memory += process.memory_full_info().pss
        return Usage(self.cpu_seconds(), memory)

    def bring_log(self) -> None:
        """The process writes to `log_path` itself."""

    def log_tail(self, lines: int = 20) -> str:
        return log_tail(self.log_path, lines)

    def wait(self, limit: float) -> bool:
        """Waits until its first process has ended by itself; whether it has."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(limit)
        return not self.alive()

    def signal(self, number: signal.Signals) -> None:
        """To its first process, which is the one that the others look to."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def suspend(self) -> None:
        """Stands still, all its processes, until `resume`: nothing is closed and nothing answers.

        The first process goes first, so that none is born meanwhile. A server's children may each be a session of
        their own (PostgreSQL's are), which no signal to the group would reach.
        """
        self._suspend(self._root)
        for process in self.processes()[1:]:
            self._suspend(process)

    def _suspend(self, process: psutil.Process) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
            self._suspended.append(process)

    def resume(self) -> None:
        """Goes on where `suspend` had it stand still; the first process last. Safe to call at any time."""
        while self._suspended:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._suspended.pop().resume()

    def start_again(self) -> None:
        """The same command at the same address, once it has been stopped."""
        if self._start is None:
            raise StackError(f"{self.name} cannot be started again")
        self._take(self._start())

    def stop(self) -> None:
        """INT (or the command's own), then TERM, then KILL to the whole family, each given its time.

        What `suspend` has stopped goes on first, to end in good order; what somebody else has hears nothing but KILL.
        """
        self.resume()
        self._cpu_before = self.cpu_seconds()
        # PostgreSQL's backends are in sessions of their own, and after its death nobody's children.
        family = processes.descendants(processes.snapshot(), [self.pid])
        for number, limit in ((self.stop_signal, waiting.STOP_INT), (signal.SIGTERM, waiting.STOP_TERM)):
            now = processes.look(self.pid)
            if not self.alive() or now is None or now.stopped:
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
            self.wait(limit)
        family |= processes.descendants(processes.snapshot(), [self.pid])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        # One that is stuck in the kernel does not hear that either.
        self.wait(waiting.STOP_TERM)
        processes.kill(family, waiting.STOP_TERM)
        # One that was killed had no time for it.
        self.shared = shared_memory.remove(self.shared)


class ThisMachine:
    """Programs that are installed here. See `runner.provision.service.Place`."""

    def program(self, kit: Kit, name: str) -> str:
        return kit.locate(name)

    def run(self, command: Command, *, limit: float, what: str, unprivileged: bool = False) -> str:
        return run_command(command, limit=limit, what=what, unprivileged=unprivileged)


class NativeProvider(ThisMachine):
    """Starts services in a private temporary folder and ends every one of them on `close`.

    See `runner.provision.service.Provider`.
    """

    kind: ClassVar[str] = "native"
    wire: Wire = wire
    shares_sockets = True

    def __init__(self, roles: Roles = ANYTHING) -> None:
        self._roles = roles
        self.folder = Path(tempfile.mkdtemp(prefix="connbench-"))
        # Servers that run as another user must be able to walk to their data, not to list what is beside it.
        self.folder.chmod(0o711)
        self._services: list[NativeService] = []
        self._lock = threading.Lock()
        self._closed = False
        self.journal = Journal()
        self.journal.note("folder", path=str(self.folder))
        self._guard = _start_guard(self.journal.path)

    def start(
        self,
        name: str,
        command: Command,
        address: Address,
        log_path: Path,
        *,
        unprivileged: bool = False,
        pass_fds: Sequence[int] = (),
    ) -> NativeService:
        """Starts one process group whose output goes to `log_path`; it is tracked from its first moment."""
        with self._lock:
            if self._closed:
                raise StackError(f"{name} was not started: the run is being stopped")

            def begin() -> "subprocess.Popen[bytes]":
                try:
                    with log_path.open("ab") as log:
                        return subprocess.Popen(
                            [*self._bound_to(command), *command.argv],
                            env=environment_of(command),
                            cwd=command.cwd or self.folder,
                            stdin=subprocess.DEVNULL,
                            stdout=log,
                            stderr=subprocess.STDOUT,
                            start_new_session=True,
                            pass_fds=pass_fds,
                            **identity(unprivileged),
                        )
                except OSError as error:
                    raise StackError(f"{name} could not be started: {error}") from error

            service = NativeService(name, begin(), address, log_path, command.stop_signal, begin)
            self._track(service)
            return service

    def _bound_to(self, command: Command) -> list[str]:
        """What has the command's process, and so all that it starts, run on its role's cores alone."""
        cpuset = self._roles.cpuset(command.role)
        return [] if cpuset is None else ["taskset", "--cpu-list", cpuset]

    def environment(self, command: Command) -> dict[str, str]:
        return environment_of(command)

    def start_own(self, name: str, command: Command, log_path: Path, pass_fds: Sequence[int]) -> NativeService:
        return self.start(name, command, Address("", 0), log_path, pass_fds=pass_fds)

    def _track(self, service: NativeService) -> None:
        self._services.append(service)
        self._write_down(service)

    def note_shared_memory(self, service: Service) -> None:
        """Writes down what the service has in the machine's shared memory, for when it is killed."""
        assert isinstance(service, NativeService), "a service of this provider"
        for segment in shared_memory.held_by(service.pid):
            service.shared.append(segment)
            self.journal.note("shared", name=segment.name, identity=segment.identity)

    def stop(self, service: Service) -> None:
        """Stops one service and forgets it."""
        service.stop()
        with self._lock:
            if isinstance(service, NativeService) and service in self._services:
                self._services.remove(service)
                self.journal.note("ended", pid=service.pid)

    def start_again(self, service: Service) -> None:
        """Starts what was stopped, at the same address; it is the same service to whoever holds it."""
        assert isinstance(service, NativeService), "a service of this provider"
        with self._lock:
            if self._closed:
                raise StackError(f"{service.name} was not started again: the run is being stopped")
            service.start_again()
            self._track(service)

    def free_address(self, reach: str | None = None) -> Address:
        """A port, of loopback unless `reach` is another, that nothing listens on now."""
        host = reach or LOOPBACK
        while True:
            port = random.choice(PORTS)
            with socket.socket() as probe:
                try:
                    probe.bind((host, port))
                except OSError as error:
                    if error.errno == errno.EADDRNOTAVAIL:
                        raise StackError(f"{host} is no address of this machine") from error
                    continue
                return Address(host, port)

    def private_folder(self, name: str, *, unprivileged: bool = False) -> Path:
        """A new folder that only the service's own user may enter."""
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        if unprivileged and os.geteuid() == 0:
            account = pwd.getpwnam(UNPRIVILEGED)
            os.chown(folder, account.pw_uid, account.pw_gid)
        return folder

    def output(self, path: Path) -> Path:
        """Services write to the runner's own files."""
        return path

    def bring(self, path: Path) -> None:
        """It is there."""

    def close(self) -> None:
        """Stops everything, the newest first, and removes the folder; a second Ctrl-C meanwhile skips nothing."""
        with self._lock:
            self._closed = True
            services = list(self._services)
            self._services.clear()
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            stack.callback(self._dismiss_guard)
            for service in services:
                stack.callback(self._end, service)

    def _end(self, service: NativeService) -> None:
        service.stop()
        self.journal.note("ended", pid=service.pid)

    def _write_down(self, service: NativeService) -> None:
        seen = processes.look(service.pid)
        self.journal.note(
            "process",
            name=service.name,
            pid=service.pid,
            # One that has ended already may have left children, which its mark betrays.
            started=-1 if seen is None else seen.started,
            program=processes.program(service.pid),
            stop_signal=int(service.stop_signal),
        )

    def _dismiss_guard(self) -> None:
        """The guard ends what is not in the journal as ended, and goes."""
        self.journal.release()
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        try:
            self._guard.wait(waiting.LEFTOVERS)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()


def run_command(
    command: Command, *, limit: float, what: str, unprivileged: bool = False, stdin: Path | None = None
) -> str:
    """Runs one command to its end and returns its output; a failure carries the output's tail."""
    try:
        with (stdin or Path(os.devnull)).open("rb") as source:
            done = subprocess.run(
                list(command.argv),
                env=environment_of(command),
                cwd=command.cwd,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=limit,
                check=False,
                **identity(unprivileged),
            )
    except subprocess.TimeoutExpired as error:
        raise StackError(f"{what} did not end within {limit:.0f} s") from error
    except OSError as error:
        raise StackError(f"{what} could not be started: {error}") from error
    output = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        tail = "\n".join(output.splitlines()[-20:])
        raise StackError(f"{what} failed with exit code {done.returncode}:\n{tail}")
    return output


def base_environment() -> dict[str, str]:
    """The little that a service takes from the runner's own environment: nothing that could steer it; and our mark."""
    kept = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "HOME", "LD_LIBRARY_PATH")
    return {**{name: os.environ[name] for name in kept if name in os.environ}, MARK: own_mark()}


def environment_of(command: Command) -> dict[str, str]:
    """The whole environment in which a command is started."""
    return {**base_environment(), **command.env}


class Identity(TypedDict, total=False):
    """Popen's arguments that say as whom to run."""

    user: int
    group: int
    extra_groups: list[int]


def identity(unprivileged: bool) -> Identity:
    """Popen's arguments that drop root, when there is root to drop."""
    if not unprivileged or os.geteuid() != 0:
        return {}
    account = pwd.getpwnam(UNPRIVILEGED)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def log_tail(path: Path, lines: int = 20) -> str:
    """The last lines of a log, at most 16 KiB of them."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 16384))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no log)"


# As Python ends a traceback: the exception's name at the beginning of a line.
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Configured|NotFound|Timeout)\b.*", re.MULTILINE)


def log_cause(path: Path) -> str:
    """` (ImportError: …)`: the last exception in a log's end, or nothing where there is none."""
    found = _EXCEPTION.findall(log_tail(path, 200))
    return f" ({found[-1].strip()})" if found else ""


def _start_guard(journal: Path) -> "subprocess.Popen[bytes]":
    command = own_module("runner.provision.guard", str(journal))
    return subprocess.Popen(
        list(command.argv),
        env=environment_of(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
