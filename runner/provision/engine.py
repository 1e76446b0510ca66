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

from runner.errors import EnvironmentUnfit, StackError
from runner.provision.service import Kit

#: On every container, network and volume of a run; its value is the run's own project name.
LABEL = "connbench.run"
USUAL = "unix:///var/run/docker.sock"
# Seconds for one answer of the engine; building and pulling report as they go.
REPLY = 60
#: How an engine refuses, or shows that it is gone, in the middle of an answer too.
ENGINE_ERRORS = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError)

_LEFT_BEHIND = ("__pycache__", ".git")


def connect() -> docker.DockerClient:
    """The engine that DOCKER_HOST or the client's context names; EnvironmentUnfit where none answers."""
    try:
        if is_local():
            # The client leaves a socket open where it finds nobody.
            with socket.socket(socket.AF_UNIX) as knocking:
                knocking.connect(urlparse(address()).path)
        client = docker.from_env(timeout=REPLY)
        client.ping()
    except (*ENGINE_ERRORS, OSError) as error:
        raise EnvironmentUnfit(
            f"no Docker engine answers ({address()}: {error}): start Docker, set DOCKER_HOST, or use --provider native"
        ) from error
    return client


def address() -> str:
    """DOCKER_HOST, else that of the client's current context: Docker Desktop's, a rootless engine's, or the usual."""
    named: str = os.environ.get("DOCKER_HOST") or ContextAPI.kwargs_from_context().get("base_url") or USUAL
    return named


def clear(host: str, run: str) -> int:
    """Removes what the engine at `host` has of a run; how much. StackError where it does not answer."""
    with engine_words(f"clearing {run}"):
        client = docker.from_env(timeout=REPLY, environment={**os.environ, "DOCKER_HOST": host})
        with contextlib.closing(client):
            return remove_all(client, run)


def answers() -> bool:
    """Whether there is an engine."""
    try:
        connect().close()
    except EnvironmentUnfit:
        return False
    return True


def is_local() -> bool:
    """Whether the engine is asked through a socket file, and so most likely is on this machine."""
    return urlparse(address()).scheme == "unix"


def host() -> str:
    """The machine that the engine publishes ports on, as seen from here."""
    return "127.0.0.1" if is_local() else urlparse(address()).hostname or "127.0.0.1"


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
