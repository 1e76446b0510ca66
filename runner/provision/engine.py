"""A Docker engine: which one, its images, and what on it belongs to a run."""

import contextlib
import io
import os
import socket
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import docker
import requests
import urllib3
from docker.context import ContextAPI
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.utils.config import find_config_file

from runner.errors import EnvironmentUnfit, StackError
from runner.provision.door import Door, door_to
from runner.provision.service import Kit

#: On every container, network and volume of a run; its value is the run's own project name.
LABEL = "connbench.run"
USUAL = "unix:///var/run/docker.sock"
# Seconds for one answer of the engine; building and pulling report as they go.
REPLY = 60
#: How an engine refuses, or shows that it is gone, in the middle of an answer too.
ENGINE_ERRORS = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError)

_LEFT_BEHIND = ("__pycache__", ".git")


class EngineApi(docker.APIClient):
    """An engine's own authority goes before the network's: requests takes those of REQUESTS_CA_BUNDLE first."""

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        if isinstance(self.verify, str):
            verify = self.verify
        return super().merge_environment_settings(url, proxies, stream, verify, cert)


class EngineClient(docker.DockerClient):
    """The Python client with that."""

    def __init__(self, **settings: Any) -> None:
        self.api = EngineApi(**settings)


def connect(name: str = "") -> docker.DockerClient:
    """An engine by its address (`tcp://…`, `ssh://…`, `unix://…`) or its context; unless named, that of DOCKER_HOST.

    Without either that of the client's current context. EnvironmentUnfit where none answers.
    """
    try:
        if is_local(name):
            # The client leaves a socket open where it finds nobody.
            with socket.socket(socket.AF_UNIX) as knocking:
                knocking.connect(urlparse(address(name)).path)
        client = _client(name)
        client.ping()
    except (*ENGINE_ERRORS, OSError) as error:
        raise EnvironmentUnfit(_silence(name, error)) from error
    return client


def _client(name: str) -> docker.DockerClient:
    door = door_of(name)
    if door is not None:
        return EngineClient(base_url=door.url, timeout=REPLY)
    return EngineClient.from_env(timeout=REPLY, environment=_environment(name))


def door_of(name: str) -> Door | None:
    """What leads to an engine over ssh; None for one that is asked directly."""
    return door_to(address(name)) if urlparse(address(name)).scheme == "ssh" else None


def _silence(name: str, error: Exception) -> str:
    door = door_of(name)
    reason = f"{error}; ssh said: {door.words()}" if door is not None and door.words() else str(error)
    if name:
        place = name if "://" in name else f"{name}, {address(name)}"
        return (
            f"hosts: no Docker engine answers on {host(name)} ({place}: {reason}): start Docker there, or mend `hosts`"
        )
    return f"no Docker engine answers ({address()}: {reason}): start Docker, set DOCKER_HOST, or use --provider native"


def _environment(name: str) -> dict[str, str]:
    """What the client reads to find the engine."""
    if not name:
        return dict(os.environ)
    others = {key: value for key, value in os.environ.items() if key not in ("DOCKER_HOST", "DOCKER_CONTEXT")}
    return {**others, "DOCKER_HOST" if "://" in name else "DOCKER_CONTEXT": name}


def address(name: str = "") -> str:
    """An engine's, as it is written down; EnvironmentUnfit where there is no context of this name.

    Unless named, that of DOCKER_HOST, else of the client's current context: Docker Desktop's, a rootless engine's.
    """
    if name and "://" not in name:
        context = ContextAPI.get_context(name)
        if context is None:
            # The Python client looks for them beside its settings, which Docker's own can do without.
            also = "" if find_config_file() else " (or there is no config.json: echo '{}' > ~/.docker/config.json)"
            raise EnvironmentUnfit(f"Docker has no context {name!r}: docker context ls{also}")
        return str(context.Host)
    named: str = name or os.environ.get("DOCKER_HOST") or ContextAPI.kwargs_from_context().get("base_url") or USUAL
    return named


def clear(name: str, run: str) -> int:
    """Removes what an engine has of a run; how much. ConnbenchError where it does not answer."""
    with engine_words(f"clearing {run}"), contextlib.closing(connect(name)) as client:
        return remove_all(client, run)


def answers() -> bool:
    """Whether there is an engine."""
    try:
        connect().close()
    except EnvironmentUnfit:
        return False
    return True


def is_local(name: str = "") -> bool:
    """Whether the engine is asked through a socket file, and so most likely is on this machine."""
    return urlparse(address(name)).scheme == "unix"


def host(name: str = "") -> str:
    """The machine that the engine publishes ports on, as seen from here."""
    return "127.0.0.1" if is_local(name) else urlparse(address(name)).hostname or "127.0.0.1"


def ip_of(name: str) -> str:
    """The IPv4 address of an engine's machine, as seen from here; EnvironmentUnfit where it has none."""
    try:
        return socket.gethostbyname(host(name))
    except OSError as error:
        raise EnvironmentUnfit(f"the host {host(name)} of the Docker engine {name} is not known: {error}") from error


@contextlib.contextmanager
def engine_words(what: str) -> Iterator[None]:
    """A refusal of the engine, or its end, as a StackError in its own words."""
    try:
        yield
    except APIError as error:
        raise StackError(f"{what}: the Docker engine refused: {error.explanation or error}") from error
    except ENGINE_ERRORS as error:
        raise StackError(f"{what}: the Docker engine does not answer any more ({error})") from error


def image_variable(kit: Kit) -> str:
    """The environment variable that names another image for a kit."""
    return f"CONNBENCH_{kit.name.upper()}_IMAGE"


def image_of(kit: Kit) -> str:
    """The kit's image: its own, unless the environment names another."""
    return os.environ.get(image_variable(kit)) or kit.image


def find_image(client: docker.DockerClient, kit: Kit, say: Callable[[str], object] = lambda _: None) -> Any:
    """The kit's image, pulled where it is missing; EnvironmentUnfit where it is not to be had."""
    name = image_of(kit)
    with engine_words(f"looking for the image {name}"), contextlib.suppress(ImageNotFound):
        return client.images.get(name)
    say(f"pulling {name}")
    try:
        client.images.pull(name)
        return client.images.get(name)
    except ENGINE_ERRORS as error:
        reason = error.explanation if isinstance(error, APIError) else error
        raise EnvironmentUnfit(
            f"the image {name} is not on this engine and cannot be pulled ({reason}): docker pull {name}, "
            f"name another in {image_variable(kit)}, or use --provider native"
        ) from error


def digest_of(image: Any) -> str:
    """What the image really is: the registry's digest, or its own id where it came from no registry."""
    digests = image.attrs.get("RepoDigests") or []
    return str(digests[0].rpartition("@")[2] if digests else image.id)


def build(
    client: docker.DockerClient,
    files: Mapping[str, bytes],
    tag: str,
    arguments: Mapping[str, str],
    say: Callable[[str], object],
) -> None:
    """Builds the app's environment of a Dockerfile and what it copies; each step is told.

    EnvironmentUnfit with its last words.
    """
    context = tar({Path(name): data for name, data in files.items()})
    last: list[str] = []
    try:
        steps = client.api.build(
            fileobj=context,
            custom_context=True,
            tag=tag,
            target="environment",
            buildargs=dict(arguments),
            rm=True,
            forcerm=True,
            decode=True,
        )
        for step in steps:
            text = str(step.get("stream") or step.get("error") or "").strip()
            if text:
                last = [*last[-9:], text]
            if text.startswith("Step "):
                say(text)
            if "error" in step:
                raise EnvironmentUnfit(f"the image {tag} could not be built:\n" + "\n".join(last))
    except ENGINE_ERRORS as error:
        raise EnvironmentUnfit(f"the image {tag} could not be built: {error}") from error


def tar(files: Mapping[Path, bytes]) -> io.BytesIO:
    """An archive of these."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(str(path))
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    buffer.seek(0)
    return buffer


def tree(paths: Iterable[Path], owner: int) -> io.BytesIO:
    """An archive of files and folders under their own absolute paths, which whoever is inside may walk to.

    Bytecode, a repository's history and a project's own virtual environment stay behind.
    """
    buffer = io.BytesIO()
    known: set[Path] = set()

    def mine(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        path = Path("/", entry.name)
        if path.name in _LEFT_BEHIND or (entry.isdir() and (path / "pyvenv.cfg").exists()):
            return None
        entry.uid = entry.gid = owner
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in paths:
            for parent in reversed(path.parents[:-1]):
                if parent not in known:
                    known.add(parent)
                    entry = tarfile.TarInfo(str(parent).lstrip("/"))
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(entry)
            archive.add(path, str(path).lstrip("/"), filter=mine)
    buffer.seek(0)
    return buffer


def remove_all(client: docker.DockerClient, run: str) -> int:
    """Removes what carries the run's label and nothing else: containers, then networks, then volumes. How many."""
    own: dict[str, str | list[str] | bool] = {"label": f"{LABEL}={run}"}
    removed = 0
    for container in client.containers.list(all=True, filters=own, ignore_removed=True):
        with contextlib.suppress(NotFound):
            # Those that share its network would outlive the first; forced, they go in any order.
            container.remove(force=True, v=True)
        removed += 1
    for kind in (client.networks, client.volumes):
        for found in kind.list(filters=own):
            with contextlib.suppress(NotFound):
                found.remove()
            removed += 1
    return removed
