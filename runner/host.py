"""The machine and the versions that a run's figures belong to."""

import hashlib
import os
import platform
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

import psutil

from runner.results.schema import HostRecord
from runner.stacks.databases import DATABASES
from runner.stacks.databases.mysql_driver import PACKAGE as MYSQL_DRIVER
from runner.stacks.environment import AppEnvironment
from runner.stacks.versions import Recipe

# The runner's own packages that bear on figures.
OWN_PACKAGES = ("connbench", "locust", "gevent", "geventhttpclient", "psycopg", MYSQL_DRIVER, "pandas", "numpy")


# What tells this host from its twin where both have one machine id: cloned images, containers.
NAME_VARIABLE = "CONNBENCH_HOST"


def describe_host() -> HostRecord:
    """This machine; `fingerprint` is the same for the same hardware and kernel, and names nobody."""
    cores = os.cpu_count() or 1
    memory = psutil.virtual_memory().total
    cpu = _cpu_model()
    identity = f"{_machine_id()}|{cpu}|{cores}|{memory >> 28}|{platform.release()}"
    return HostRecord(
        fingerprint=hashlib.sha256(identity.encode()).hexdigest()[:16],
        system=system_name(),
        kernel=platform.release(),
        cpu=cpu,
        cores=cores,
        memory_bytes=memory,
    )


@cache
def own_fingerprint() -> str:
    """The fingerprint of the machine that this process runs on."""
    return describe_host().fingerprint


def describe_versions(environments: Mapping[Recipe, AppEnvironment]) -> dict[str, str]:
    """Package to version: the runner's own, each app environment's as `<environment>/<package>`."""
    own = {name: version(name) for name in OWN_PACKAGES}
    theirs = {
        f"{environment.name}/{package}": found
        for environment in environments.values()
        for package, found in environment.versions().items()
    }
    return {"python": platform.python_version(), **own, **dict(sorted(theirs.items()))}


def installed_servers(engines: Iterable[str]) -> dict[str, str]:
    """This machine's database servers, as `server/<engine>`."""
    return {f"server/{engine}": DATABASES[engine].installed() for engine in sorted(engines)}


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _machine_id() -> str:
    if given := os.environ.get(NAME_VARIABLE):
        return given
    path = Path("/etc/machine-id")
    return path.read_text().strip() if path.exists() else platform.node()


def system_name() -> str:
    """As the system calls itself: `Debian GNU/Linux 12 (bookworm)`."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()
