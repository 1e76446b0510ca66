"""Services as process groups on this machine: what is started, and that every one of them ends.

Each service is a session of its own, so that a signal reaches all of its processes and a Ctrl-C in the
terminal reaches the runner alone, which then takes everything down in order. Whatever is started is in a journal
first; if the runner dies without a word (kill -9), a guard process cleans up by it, or else the next command does.
"""

import contextlib
import errno
import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from runner import ssh, waiting
from runner.errors import StackError
from runner.provision import processes, shared_memory, wire
from runner.provision.commands import UNPRIVILEGED, ThisMachine, environment_of, identity, own_module
from runner.provision.journal import MARK, Journal
from runner.provision.native_service import NativeService
from runner.provision.roles import ANYTHING, Roles
from runner.provision.service import Address, Command, Role, Service, Wire

LOOPBACK = "127.0.0.1"
#: What the guard too needs to find a Docker engine, and to be let in.
TO_ENGINES = ("DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "SSH_AUTH_SOCK", ssh.VARIABLE)
# Below Linux's ephemeral range (32768 and up), where an outgoing connection may take any port at any moment.
PORTS = range(15000, 32000)


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

    def at(self, role: Role) -> "NativeProvider":  # noqa: ARG002  everything is on this machine
        return self

    def round_trip_to(self, role: Role) -> float | None:  # noqa: ARG002
        return None

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


def _start_guard(journal: Path) -> "subprocess.Popen[bytes]":
    command = own_module("runner.provision.guard", str(journal))
    to_engines = {name: os.environ[name] for name in TO_ENGINES if name in os.environ}
    # Without the runner's mark: where it has several providers, one's guard is no leftover for another's.
    return subprocess.Popen(
        list(command.argv),
        env={name: value for name, value in {**to_engines, **environment_of(command)}.items() if name != MARK},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
