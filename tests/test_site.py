"""Where a plan runs: what `auto` takes, and what is needed there."""

import io
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
from runner.provision.service import Kit
from runner.site import DockerSite, NativeSite, choose_site, kits_of
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
    ("name", "answers", "cells", "kind"),
    [
        ("auto", True, CELLS, "docker"),
        ("auto", False, CELLS, "native"),
        *(("auto", True, plan.cells.values(), "native") for plan in (APACHE, HOSTED, DRIVEN)),
        ("native", True, CELLS, "native"),
        ("docker", False, CELLS, "docker"),
    ],
)
def test_which_is_taken(monkeypatch: pytest.MonkeyPatch, name: str, answers: bool, cells: Any, kind: str) -> None:
    monkeypatch.setattr(engine, "answers", lambda: answers)
    assert choose_site(name, cells).kind == kind
    assert {one.kind for one in (NativeSite(), DockerSite())} == {"native", "docker"}


def test_what_the_cells_need_beside_the_app() -> None:
    assert [kit.name for kit in kits_of(CELLS)] == ["python", "mariadb", "mysql", "pgbouncer", "postgres"]
    plain = [cell for cell in CELLS if cell.pooler is None and cell.database.engine == "mysql"]
    assert [kit.name for kit in kits_of(plain)] == ["python", "mysql"]


def test_docker_without_an_engine_says_what_to_do() -> None:
    with pytest.raises(EnvironmentUnfit, match=r"no Docker engine answers .*set DOCKER_HOST, or use --provider native"):
        DockerSite().require(PLAN)


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (APACHE, "mod_wsgi is bound to the system's own Python"),
        (HOSTED, r"the connections to prod-like \(url_from\) are counted as they leave this machine"),
        (DRIVEN, r"load\.hosts are elsewhere"),
    ],
)
def test_what_cannot_be_in_containers_is_refused_before_the_engine_is_asked(plan: Plan, reason: str) -> None:
    with pytest.raises(EnvironmentUnfit, match=rf"{reason}.*: take that out, or use --provider native"):
        DockerSite().require(plan)


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
