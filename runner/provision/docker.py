"""Services as containers of a Docker engine, near or far: the same handles as `runner.provision.native` gives.

Nothing is mounted from the runner's machine and nothing assumed to be on its localhost: files go in and logs come out
through the engine and the run's agent. The runner's own processes (load, sampler) stay beside the runner.
"""

import contextlib
import itertools
import secrets
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from docker.errors import NotFound
from docker.types import Mount

from runner import waiting
from runner.errors import EnvironmentUnfit, StackError
from runner.provision import engine
from runner.provision.container import DockerService
from runner.provision.engine import ENGINE_ERRORS, engine_words
from runner.provision.native import NativeProvider
from runner.provision.pod import Pod
from runner.provision.roles import ANYTHING, Roles
from runner.provision.service import Address, Command, Keeper, Kit, OwnService, Provider, Role, Service, Wire

#: Services run as nobody, as they do natively where root would be: in Debian's images, Alpine's and Oracle's alike.
NOBODY = 65534
# Its output goes to a file on the run's volume, which can be read to the last byte at any moment.
SHELL = ["/bin/sh", "-c", 'exec "$@" >>"$0" 2>&1']


class DockerProvider:
    """Starts services as containers of one pod and removes every one of them on `close`.

    See `runner.provision.service.Provider`.
    """

    kind: ClassVar[str] = "docker"
    shares_sockets = False

    def __init__(self, roles: Roles = ANYTHING, name: str = "", *, on_host: bool = False) -> None:
        """`name` is the engine's; `on_host`: services are on its host's own network, for others that are elsewhere."""
        self._client = engine.connect(name)
        self._roles = roles
        self._own = NativeProvider(Roles(load=roles.load))
        self.run_name = f"connbench-{secrets.token_hex(6)}"
        self._numbers = itertools.count(1)
        self._services: list[DockerService] = []
        self._outputs: dict[Path, tuple[Path, int]] = {}
        self._folders: dict[Path, int] = {}
        self._programs: dict[str, frozenset[str]] = {}
        self._lock = threading.Lock()
        self._closed = False
        try:
            self.journal.note("engine", host=name or engine.address(), run=self.run_name)
            if (door := engine.door_of(name)) is not None:
                self.journal.note("folder", path=str(door.folder))
            self.pod = Pod(self._client, self.run_name, self.folder, name, on_host=on_host)
            self.wire: Wire = self.pod.eyes
            self._carry(self._own.private_folder("logs"), self._own.private_folder("out"), mode=0o1777)
        except BaseException:
            self._clear()
            self._own.close()
            raise

    @property
    def folder(self) -> Path:
        return self._own.folder

    @property
    def journal(self) -> Keeper:
        return self._own.journal

    def at(self, role: Role) -> Provider:  # noqa: ARG002  everything is in one place
        return self

    def round_trip_to(self, role: Role) -> float | None:  # noqa: ARG002
        return None

    # --- programs ---

    def program(self, kit: Kit, name: str) -> str:
        """As the image's own PATH finds it."""
        image = engine.find_image(self._client, kit)
        if image.id not in self._programs:
            listing = ["/bin/sh", "-c", 'IFS=:; for folder in $PATH; do ls "$folder" 2>/dev/null; done; true']
            found = self.run(
                Command(listing, kit=kit), limit=waiting.CONTAINER_COMMAND, what=f"a look into {kit.image}"
            )
            self._programs[image.id] = frozenset(found.split())
        if name not in self._programs[image.id]:
            raise EnvironmentUnfit(
                f"the image {engine.image_of(kit)} has no program {name}: name another in {engine.image_variable(kit)}"
            )
        return name

    def run(self, command: Command, *, limit: float, what: str, unprivileged: bool = False) -> str:  # noqa: ARG002
        with engine_words(what):
            container = self._create(what, command, list(command.argv[:1]), list(command.argv[1:]))
            try:
                self._send(container, command)
                container.start()
                code = self._code_of(container, limit, what)
                output = container.logs().decode(errors="replace")
            finally:
                with contextlib.suppress(NotFound):
                    container.remove(force=True, v=True)
        if code != 0:
            tail = "\n".join(output.splitlines()[-20:])
            raise StackError(f"{what} failed with exit code {code}:\n{tail}")
        return str(output)

    def _code_of(self, container: Any, limit: float, what: str) -> int:
        patience = round(limit + waiting.CONTAINER_COMMAND)
        deadline = time.monotonic() + patience
        try:
            return int(self._client.api.wait(container.id, timeout=patience)["StatusCode"])
        except ENGINE_ERRORS as error:
            if time.monotonic() < deadline:
                raise
            raise StackError(f"{what} did not end within {limit:.0f} s") from error

    # --- services ---

    def start(
        self,
        name: str,
        command: Command,
        address: Address,
        log_path: Path,
        *,
        unprivileged: bool = False,  # noqa: ARG002  in a container everything is
    ) -> DockerService:
        with self._lock:
            number = next(self._numbers)
            log_path.parent.mkdir(parents=True, exist_ok=True)
            log_path.touch()
            service = DockerService(
                name, command, address, log_path, self.folder / "logs" / f"{number}.log", self.pod.eyes
            )
            self._begin(service)
            return service

    def _begin(self, service: DockerService) -> None:
        if self._closed:
            raise StackError(f"{service.name} was not started: the run is being stopped")
        command = service.command
        with engine_words(f"{service.name} could not be started"):
            container = self._create(service.name, command, SHELL, [str(service.log_inside), *command.argv])
            try:
                self._send(container, command)
                container.start()
            except BaseException:
                container.remove(force=True, v=True)
                raise
        service.take(container)
        self._services.append(service)

    def _create(self, name: str, command: Command, entrypoint: list[str], argv: list[str]) -> Any:
        assert command.kit is not None, "what runs in a container comes from an image"
        image = engine.find_image(self._client, command.kit)
        memory = self._roles.memory(command.role)
        words = "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")
        return self._client.containers.create(
            image.id,
            entrypoint=entrypoint,
            command=argv,
            name=f"{self.run_name}-{words[:40]}-{next(self._numbers)}",
            environment=dict(command.env),
            working_dir=str(command.cwd or self.folder),
            user=f"{NOBODY}:{NOBODY}",
            network_mode=self.pod.network,
            volumes={self.run_name: {"bind": str(self.folder), "mode": "rw"}},
            mounts=[Mount(str(folder), None) for folder in _hidden_folders(command.reads)],
            labels=self.pod.labels,
            init=True,
            shm_size="256m",
            cpuset_cpus=self._roles.cpuset(command.role),
            mem_limit=memory,
            # Without swap, which would make a bound on memory one on speed.
            memswap_limit=memory,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
        )

    def _send(self, container: Any, command: Command) -> None:
        """What the command reads: code into its own container, what private folders have on the volume."""
        if command.reads:
            container.put_archive("/", engine.tree(command.reads, NOBODY))
        self._carry(*self._folders)

    def _carry(self, *folders: Path, mode: int = 0) -> None:
        """Copies what is new in the runner's own folders to the volume."""
        for folder in folders:
            if mode:
                folder.chmod(mode)
                self._folders.setdefault(folder, -1)
            newest = max(path.stat().st_mtime_ns for path in (folder, *folder.rglob("*")))
            if newest != self._folders[folder]:
                self.pod.holder.put_archive("/", engine.tree([folder], NOBODY))
                self._folders[folder] = newest

    def environment(self, command: Command) -> dict[str, str]:
        """The image's own, and the command's."""
        image = engine.find_image(self._client, command.kit) if command.kit is not None else None
        own = [] if image is None else image.attrs["Config"].get("Env") or []
        return {**dict(entry.split("=", 1) for entry in own), **command.env}

    def note_shared_memory(self, service: Service) -> None:
        """A container's goes with it."""

    def start_own(self, name: str, command: Command, log_path: Path, pass_fds: Sequence[int]) -> OwnService:
        return self._own.start_own(name, command, log_path, pass_fds)

    def stop(self, service: Service) -> None:
        """Stops one service and forgets it."""
        if not isinstance(service, DockerService):
            self._own.stop(service)
            return
        service.stop()
        with self._lock:
            if service in self._services:
                self._services.remove(service)

    def start_again(self, service: Service) -> None:
        """In a new container; its data are on the volume."""
        assert isinstance(service, DockerService), "a service of this provider"
        with self._lock:
            self._begin(service)

    # --- what they need ---

    def free_address(self, reach: str | None = None) -> Address:
        assert reach is None, "who drives from other hosts is refused before anything starts"
        return self.pod.free_address()

    def private_folder(self, name: str, *, unprivileged: bool = False) -> Path:  # noqa: ARG002
        """Here, and on the volume with what is put into it before something starts."""
        folder = self._own.private_folder(name)
        self._folders[folder] = -1
        return folder

    def output(self, path: Path) -> Path:
        inside = self.folder / "out" / f"{next(self._numbers)}-{path.name}"
        self._outputs[path] = (inside, 0)
        return inside

    def bring(self, path: Path) -> None:
        if path in self._outputs:
            inside, end = self._outputs[path]
            path.parent.mkdir(parents=True, exist_ok=True)
            self._outputs[path] = (inside, self.pod.eyes.copy(inside, path, end))

    def close(self) -> None:
        """Stops everything, the newest first, and removes what carries the run's label. Safe to call twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            services = list(self._services)
            self._services.clear()
        with contextlib.ExitStack() as stack:
            stack.callback(self._own.close)
            stack.callback(self._clear)
            stack.callback(self.pod.eyes.close)
            for service in services:
                stack.callback(service.stop)

    def _clear(self) -> None:
        """What an engine that is gone cannot remove stays in the journal, for the next command."""
        with contextlib.suppress(*ENGINE_ERRORS):
            engine.remove_all(self._client, self.run_name)
            self.journal.note("engine-cleared", run=self.run_name)
        self._client.close()


def _hidden_folders(reads: Sequence[Path]) -> list[Path]:
    """Of what is read, the folders that a container's own /dev would hide (/dev/shm): each is a volume there."""
    return sorted({path if path.is_dir() else path.parent for path in reads if path.is_relative_to("/dev")})
