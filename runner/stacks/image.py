"""The app's environment as an image: built of the same lock file as the native one, cached by what goes into it."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import docker

from runner.errors import EnvironmentUnfit, StackError
from runner.provision import engine
from runner.provision.commands import PYTHON
from runner.provision.engine import engine_words
from runner.provision.service import Kit
from runner.stacks.app import ROOT
from runner.stacks.environment import BUILD, AppEnvironment, lock_of
from runner.stacks.versions import PYTHON as PYTHON_VERSION
from runner.stacks.versions import Recipe

DOCKERFILE = Path(__file__).parent / "Dockerfile"
UV = ROOT / "requirements" / "uv.txt"
#: Where the Dockerfile finds what is to be installed.
LOCK = "requirements/lock.txt"
#: Of the image of a recipe that does not ask for another.
DEFAULT_PYTHON = "3.11"
#: Where the image has it.
FOLDER = Path("/connbench/env")
# A network's own certificate authorities, by the names that pip, uv and requests know, and its own package index.
_AUTHORITIES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_INDEX = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX")
_VERSIONS = (
    "import json, importlib.metadata as m; print(json.dumps({d.name.lower(): d.version for d in m.distributions()}))"
)


@dataclass(frozen=True)
class ImageEnvironment(AppEnvironment):
    """An environment whose programs are in an image."""

    installed: tuple[tuple[str, str], ...] = ()

    def versions(self) -> dict[str, str]:
        return dict(self.installed)


def build_image(recipe: Recipe, client: docker.DockerClient, say: Callable[[str], object]) -> ImageEnvironment:
    """The image of a recipe, built where it is missing; each step is told to `say`.

    Raises EnvironmentUnfit where the recipe cannot be had in an image, or the build fails. One that is bound to the
    system's own Python has been refused before.
    """
    python = dict(recipe.versions).get(PYTHON_VERSION, DEFAULT_PYTHON)
    base = engine.find_image(client, _python(python), say)
    lock = lock_of(recipe, python)
    if " @ git+" in lock.read_text():
        raise EnvironmentUnfit(
            f"{recipe.name} has a package from a repository, which no image is built of: --provider native"
        )
    files = {
        "Dockerfile": DOCKERFILE.read_bytes(),
        LOCK: lock.read_bytes(),
        "requirements/build.txt": BUILD.read_bytes(),
        "requirements/uv.txt": UV.read_bytes(),
    }
    key = hashlib.sha256(b"\0".join([base.id.encode(), *files.values()])).hexdigest()[:16]
    tag = f"connbench-app:{recipe.shared_name.replace('+', '_')}-{key}"
    if not client.images.list(name=tag):
        say(f"building the image {tag} (once; uWSGI takes half a minute to compile)")
        arguments = {"BASE": base.id, "LOCK": LOCK, **{name: os.environ[name] for name in _INDEX if name in os.environ}}
        engine.build(client, {**files, **_authorities()}, tag, arguments, say)
    kit = Kit(f"app_{recipe.name}", tag, _not_here)
    return ImageEnvironment(recipe, FOLDER, kit, tuple(sorted(_installed(client, tag).items())))


def _python(version: str) -> Kit:
    """The image that has this Python; which one, the environment may say for the usual version alone."""
    return (
        PYTHON if version == DEFAULT_PYTHON else Kit(f"python_{version}", f"python:{version}-slim-bookworm", _not_here)
    )


def _authorities() -> Mapping[str, bytes]:
    """What this network has of its own, as the environment says; nothing where it says nothing."""
    given = next((os.environ[name] for name in _AUTHORITIES if os.environ.get(name)), None)
    return {} if given is None else {"authorities.crt": Path(given).read_bytes()}


def _installed(client: docker.DockerClient, tag: str) -> Mapping[str, str]:
    try:
        with engine_words(f"a look into {tag}"):
            said = client.containers.run(
                tag, [str(FOLDER / "bin/python"), "-c", _VERSIONS], remove=True, network_mode="none"
            )
    except StackError as error:
        raise EnvironmentUnfit(str(error)) from error
    found: dict[str, str] = json.loads(said)
    return found


def _not_here(name: str) -> str:
    raise EnvironmentUnfit(f"{name} is in an image, not on this machine")
