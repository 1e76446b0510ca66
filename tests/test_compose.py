"""docker-compose.yml: what it may never have, and the stack brought up, with images that stand in for the official."""

import json
import os
import re
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
from ruamel.yaml import YAML

from runner import waiting
from runner.provision.native import NativeProvider
from tests.engines import FULL, KITS, compose, running_engine
from tests.processes import ROOT

FILE = ROOT / "docker-compose.yml"
SERVICES: Mapping[str, Mapping[str, Any]] = YAML(typ="safe").load(FILE)["services"]
DATABASES = {"postgres": 5432, "mysql": 3306, "mariadb": 3306}
IMAGE = re.compile(r"\$\{(CONNBENCH_[A-Z]+_IMAGE):-([^:}]+):([^}]+)\}")
PORT = re.compile(r"127\.0\.0\.1:\$\{CONNBENCH_[A-Z]+_PORT:-\d+\}:\d+")
#: Both images are built, mysqlclient and uWSGI compiled in them.
UP_LIMIT = 900

needs_images = pytest.mark.skipif(
    FULL not in os.environ, reason=f"minutes of images: make test-docker ({FULL}=1) runs it"
)
each_service = pytest.mark.parametrize("name", SERVICES)


def test_the_whole_stack_is_there() -> None:
    assert {*DATABASES, "pgbouncer", "app", "locust", "locust-worker"} == set(SERVICES)
    assert {name for name, service in SERVICES.items() if "load" in service.get("profiles", [])} == {
        "locust",
        "locust-worker",
    }


@each_service
def test_every_service_says_how_it_is_and_has_a_limit(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"]
    assert {"cpus", "memory"} == set(service["deploy"]["resources"]["limits"])


@each_service
def test_no_service_has_rights_or_a_name_of_its_own(name: str) -> None:
    service = SERVICES[name]
    assert not {"privileged", "container_name", "network_mode", "pid", "devices", "volumes"} & set(service)
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@each_service
def test_ports_are_on_loopback_alone(name: str) -> None:
    assert all(PORT.fullmatch(port) for port in SERVICES[name].get("ports", []))


@each_service
def test_images_are_pinned_and_can_be_replaced(name: str) -> None:
    service = SERVICES[name]
    image = IMAGE.fullmatch(service["image"])
    assert image is not None
    if "build" in service:
        image = IMAGE.fullmatch(service["build"]["args"]["BASE"])
        assert image is not None
    assert image[3] != "latest"


@pytest.mark.parametrize("name", DATABASES)
def test_data_are_in_memory(name: str) -> None:
    assert len(SERVICES[name]["tmpfs"]) == 1


@dataclass(frozen=True)
class Stack:
    """What `docker compose up` has brought up."""

    folder: Path
    project: str
    ports: Mapping[str, int]

    def compose(self, *arguments: str) -> str:
        return compose(self.folder, "--project-name", self.project, "--profile", "load", *arguments)

    def ask(self, service: str, path: str, post: bytes | None = None) -> str:
        url = f"http://127.0.0.1:{self.ports[service]}{path}"
        with urllib.request.urlopen(url, post, timeout=30) as answer:
            return str(answer.read().decode())

    def left(self) -> list[Any]:
        own: dict[str, str | list[str] | bool] = {"label": f"com.docker.compose.project={self.project}"}
        with closing(docker.from_env()) as client:
            containers = client.containers.list(all=True, filters=own)
            return [*containers, *client.networks.list(filters=own), *client.volumes.list(filters=own)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with (
        running_engine(KITS) as folder,
        closing(NativeProvider()) as provider,
        pytest.MonkeyPatch.context() as patch,
    ):
        ports = {name: provider.free_address().port for name, service in SERVICES.items() if service.get("ports")}
        for name, port in ports.items():
            patch.setenv(f"CONNBENCH_{name.upper()}_PORT", str(port))
        stack = Stack(folder, f"connbench-test-{os.getpid()}", ports)
        try:
            stack.compose("up", "--detach", "--build", "--wait", "--wait-timeout", str(UP_LIMIT))
            yield stack
        finally:
            # The images stay, as every other that the tests have built: the next time they cost nothing.
            stack.compose("down", "--volumes")
        assert stack.left() == []


@needs_images
@pytest.mark.server
@pytest.mark.docker
@pytest.mark.timeout(3 * UP_LIMIT)
class TestStack:
    """Somebody looks at it by hand."""

    def test_every_port_is_on_loopback(self, stack: Stack) -> None:
        own: dict[str, str | list[str] | bool] = {"label": f"com.docker.compose.project={stack.project}"}
        with closing(docker.from_env()) as client:
            hosts = [
                (container.name, binding["HostIp"])
                for container in client.containers.list(filters=own)
                for bindings in container.ports.values()
                for binding in bindings or []
            ]
        assert {host for _, host in hosts} == {"127.0.0.1"}
        assert len(hosts) == len(stack.ports)

    def test_locust_drives_the_shop(self, stack: Stack) -> None:
        assert json.loads(stack.ask("locust", "/swarm", b"user_count=4&spawn_rate=4"))["success"]

        def driven() -> dict[str, Any] | None:
            found: dict[str, Any] = json.loads(stack.ask("locust", "/stats/requests"))
            return found if found["stats"] and found["stats"][-1]["num_requests"] > 100 else None

        found = waiting.wait_for(driven, 60, every=0.5)
        stack.ask("locust", "/stop", b"")
        assert found is not None
        assert found["fail_ratio"] == 0
        assert len(found["workers"]) == 2

    @pytest.mark.parametrize(
        "place",
        [
            "postgresql://pgbouncer:5432",
            "mysql://mysql:3306",
            "mysql://mariadb:3306",
        ],
    )
    def test_the_shop_on_another_database(self, stack: Stack, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
        monkeypatch.setenv("CONNBENCH_APP_DATABASE", place)
        stack.compose("up", "--detach", "--wait", "--wait-timeout", str(UP_LIMIT), "app")
        assert '"id": 1, "name": "Modern Cork Carafe"' in stack.ask("app", "/products/")
