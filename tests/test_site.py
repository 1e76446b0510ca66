"""Where a plan runs: what `auto` takes, and what is needed there."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from runner import site
from runner.errors import EnvironmentUnfit
from runner.matrix.expansion import expand
from runner.matrix.reading import read_matrix
from runner.plan import Plan, make_plan
from runner.provision import engine
from runner.provision.roles import Hosts
from runner.provision.service import Kit
from runner.site import DockerSite, NativeSite, SitesApart, choose_site, placed_kits
from runner.stacks.app import ROOT
from runner.stacks.versions import Recipe

MATRIX = read_matrix(ROOT / "tests" / "matrices" / "docker.yaml")
CELLS = expand(MATRIX).cells
PLAN = make_plan(expand(MATRIX), MATRIX, seed=1)


def _of(path: str, **load: Any) -> Plan:
    matrix = read_matrix(ROOT / path)
    matrix = matrix.model_copy(update={"load": matrix.load.model_copy(update=load)})
    return make_plan(expand(matrix), matrix, seed=1)


APACHE = _of("tests/matrices/mod_wsgi.yaml")
HOSTED = _of("matrices/hosted.yaml")
DRIVEN = _of("tests/matrices/docker.yaml", hosts=["far"], reach="192.0.2.1")


@pytest.mark.parametrize(
    ("name", "answers", "plan", "kind"),
    [
        ("auto", True, PLAN, "docker"),
        ("auto", False, PLAN, "native"),
        *(("auto", True, plan, "native") for plan in (APACHE, HOSTED, DRIVEN)),
        ("native", True, PLAN, "native"),
        ("docker", False, PLAN, "docker"),
    ],
)
def test_which_is_taken(monkeypatch: pytest.MonkeyPatch, name: str, answers: bool, plan: Plan, kind: str) -> None:
    monkeypatch.setattr(engine, "answers", lambda: answers)
    assert choose_site(name, plan).kind == kind
    assert {one.kind for one in (NativeSite(), DockerSite())} == {"native", "docker"}


def test_what_the_cells_need_beside_the_app() -> None:
    everywhere = [("app", "python"), ("database", "python"), ("pooler", "python")]
    databases = [("database", name) for name in ("mariadb", "mysql", "postgres")]
    assert [(role, kit.name) for role, kit in placed_kits(CELLS)] == [*everywhere, *databases, ("pooler", "pgbouncer")]
    plain = [cell for cell in CELLS if cell.pooler is None and cell.database.engine == "mysql"]
    assert [(role, kit.name) for role, kit in placed_kits(plain)] == [*everywhere, ("database", "mysql")]


def test_docker_without_an_engine_says_what_to_do() -> None:
    with pytest.raises(EnvironmentUnfit, match=r"no Docker engine answers .*set DOCKER_HOST, or use --provider native"):
        DockerSite().require(PLAN)


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (APACHE, "mod_wsgi is bound to the system's own Python"),
        (HOSTED, r"the connections to prod-like \(url_from\) are counted as they leave this machine"),
        (DRIVEN, r"containers do not have the address load\.reach"),
    ],
)
def test_what_cannot_be_in_containers_is_refused_before_the_engine_is_asked(plan: Plan, reason: str) -> None:
    with pytest.raises(EnvironmentUnfit, match=rf"{reason}.*: take that out, or use --provider native"):
        DockerSite().require(plan)


def _apart(app: str, database: str) -> Plan:
    hosts = Hosts(app=app, database=database)
    return make_plan(expand(MATRIX), MATRIX.model_copy(update={"hosts": hosts}), seed=1)


def test_hosts_take_docker() -> None:
    plan = _apart("tcp://192.0.2.1:2376", "tcp://192.0.2.2:2376")
    for name in ("auto", "docker"):
        assert isinstance(choose_site(name, plan), SitesApart)
    with pytest.raises(EnvironmentUnfit, match=r"hosts: .* as containers: use --provider docker"):
        choose_site("native", plan)


def test_a_host_whose_engine_does_not_answer_is_named() -> None:
    plan = _apart("tcp://127.0.0.1:9", "tcp://127.0.0.1:9")
    words = r"hosts: no Docker engine answers on 127\.0\.0\.1 \(tcp://127\.0\.0\.1:9: "
    with pytest.raises(EnvironmentUnfit, match=words):
        choose_site("auto", plan).require(plan)


def test_a_host_that_the_others_do_not_find_is_refused() -> None:
    plan = _apart("tcp://192.0.2.1:2376", "ssh://me@localhost")
    words = r"hosts\.database: ssh://me@localhost is 127\.0\.0\.1 from here, where the other hosts do not find it"
    with pytest.raises(EnvironmentUnfit, match=words):
        choose_site("auto", plan).require(plan)


@pytest.mark.parametrize("plan", [APACHE, HOSTED, DRIVEN])
def test_hosts_are_refused_what_containers_are(plan: Plan) -> None:
    plan = replace(plan, hosts=Hosts(app="tcp://192.0.2.1:2376", database="tcp://192.0.2.2:2376"))
    with pytest.raises(EnvironmentUnfit, match=r": take that out, or `hosts`"):
        choose_site("auto", plan).require(plan)


def test_the_environment_names_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONNBENCH_POSTGRES_IMAGE", raising=False)
    kit = Kit("postgres", "postgres:17", lambda name: name)
    assert engine.image_of(kit) == "postgres:17"
    monkeypatch.setenv("CONNBENCH_POSTGRES_IMAGE", "mirror.example/postgres:16")
    assert engine.image_of(kit) == "mirror.example/postgres:16"


def test_native_builds_what_the_cells_need(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    built: list[Recipe] = []
    monkeypatch.setattr(site, "build_environment", built.append)
    found = NativeSite().environments(CELLS, Console(file=io.StringIO()))
    assert list(found) == built == [Recipe("psycopg3")]
