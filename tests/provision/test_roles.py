"""What the parts of a stack may use of their machine."""

import os
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import ValidationError

from runner.errors import EnvironmentUnfit
from runner.plan import Plan
from runner.provision.native import NativeProvider
from runner.provision.roles import Hosts, Roles, cores_of
from runner.provision.service import Address, Command, Role
from runner.site import NativeSite


@pytest.mark.parametrize(
    ("cpuset", "cores"), [("", []), ("0", [0]), ("0-1", [0, 1]), ("0,2-3", [0, 2, 3]), ("7,1", [7, 1])]
)
def test_cores_are_named_as_the_kernel_names_them(cpuset: str, cores: list[int]) -> None:
    assert cores_of(cpuset) == cores


def test_a_role_that_is_not_told_may_use_everything() -> None:
    roles = Roles.model_validate({"app": {"cpuset": 1, "memory": "512MB"}, "load": {"cpuset": "0-1"}})
    assert (roles.cpuset("app"), roles.memory("app")) == ("1", 512_000_000)
    assert (roles.cpuset("load"), roles.memory("load")) == ("0-1", None)
    assert (roles.cpuset("database"), roles.memory("database")) == (None, None)
    assert (roles.cpuset(None), roles.memory(None)) == (None, None)
    assert [role for role, _ in roles.given()] == ["app", "load"]


@pytest.mark.parametrize(
    "given",
    [
        {"app": {"cpuset": "all"}},
        {"app": {"cpuset": "1-"}},
        {"app": {"cpuset": True}},
        {"app": {"cpuset": -1}},
        {"app": {"memory": "512"}},
        {"app": {"memory": 512}},
        {"load": {"memory": "512MB"}},
        {"proxy": {"cpuset": 0}},
    ],
)
def test_what_says_nothing_clear_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Roles.model_validate(given)


def plan_with(roles: dict[str, Any]) -> Plan:
    return Plan(1, False, 1, {}, None, (), roles=Roles.model_validate(roles))  # type: ignore[arg-type]


def test_cores_that_there_are_not_are_refused() -> None:
    count = os.cpu_count() or 1
    with pytest.raises(EnvironmentUnfit, match=rf"roles.pooler.cpuset: 0-{count} names core {count}, and there are"):
        NativeSite().require(plan_with({"pooler": {"cpuset": f"0-{count}"}}))


def test_memory_is_a_matter_for_containers() -> None:
    with pytest.raises(EnvironmentUnfit, match=r"roles.database.memory: .* use --provider docker"):
        NativeSite().require(plan_with({"database": {"memory": "1GB"}}))


def test_which_host_has_a_role() -> None:
    near = Hosts.model_validate({"app": "ssh://me@east", "database": "tcp://10.0.0.3:2376"})
    assert (near.of("app"), near.of("database"), near.of("pooler")) == (near.app, near.database, near.app)
    far = Hosts(app="east", database="west", pooler="north")
    assert far.of("pooler") == "north"
    assert [Hosts(app="east", database=one).apart for one in ("east", "west")] == [False, True]


@pytest.mark.parametrize(
    "given",
    [
        {"app": "east"},
        {"app": "east", "database": "http://10.0.0.3"},
        {"app": "east", "database": "tcp://10.0.0.3"},
        {"app": "east", "database": "ssh://me:secret@10.0.0.3"},
        {"app": "east", "database": "ssh://me@10.0.0.3/var/run/docker.sock"},
        {"app": "east", "database": "unix:///var/run/docker.sock"},
        {"app": "east", "database": "-H"},
        {"app": "east", "database": "west", "proxy": "north"},
        {"app": "east", "database": "west", "load": ["north"]},
    ],
)
def test_hosts_that_cannot_be_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Hosts.model_validate(given)


def test_one_role_s_allotment() -> None:
    roles = Roles.model_validate({"app": {"cpuset": 7}, "database": {"memory": "1GB"}})
    assert [role for role, _ in roles.only("app").given()] == ["app"]
    assert list(roles.only("pooler").given()) == []


@pytest.mark.parametrize(("role", "bound"), [("app", True), ("database", False), (None, False)])
def test_all_that_a_role_s_process_starts_is_bound(tmp_path: Path, role: Role | None, bound: bool) -> None:
    core = max(os.sched_getaffinity(0))
    roles = Roles.model_validate({"app": {"cpuset": core}})
    with closing(NativeProvider(roles)) as provider:
        command = Command(["sh", "-c", "sleep 60 & sleep 60 & wait"], role=role)
        service = provider.start("two", command, Address("", 0), tmp_path / "log")
        while len(service.processes()) < 3:
            assert service.alive(), service.log_tail()
            time.sleep(0.01)
        found = {tuple(psutil.Process(one.pid).cpu_affinity()) for one in service.processes()}
    assert found == {(core,) if bound else tuple(sorted(os.sched_getaffinity(0)))}
