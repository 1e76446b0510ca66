"""What `connbench init` asks of a machine, and what it tries an app with."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runner import doctor
from runner.adopt import initialise
from runner.adopt.ask import Answer
from runner.adopt.initialise import InitOptions, drivers_of, try_out
from runner.errors import EnvironmentUnfit, StackError
from runner.stacks.app import App, AppDescription
from runner.stacks.environment import BothDrivers
from tests.adopt.projects import make_project

PG = {"default": {"ENGINE": "django.db.backends.postgresql"}}


class Machine:
    """One with nothing but what is named; notes what is asked for, and starts nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *installed: str) -> None:
        self.installed = installed
        self.tried: list[tuple[str, str]] = []
        monkeypatch.setattr(doctor, "require_programs", self.require)
        monkeypatch.setattr(initialise, "_build", lambda app, base, python: base)
        monkeypatch.setattr(initialise, "_up", self.up)

    def require(self, engines: Iterable[str]) -> None:
        for engine in engines:
            if engine not in self.installed:
                raise EnvironmentUnfit(f"there is no {engine}")

    @contextmanager
    def up(self, app: App, spec: Any, environment: str, logs: Path) -> Iterator[None]:
        self.tried.append((spec.driver, environment))
        raise StackError("it does not come up")
        yield


def app(folder: Path, requirements: str) -> App:
    project = make_project(folder / "mine")
    (project / "requirements.txt").write_text(requirements)
    description = AppDescription(
        settings="site_of_mine.settings",
        wsgi="site_of_mine.wsgi:application",
        dependencies=["requirements.txt"],
        setup=[["migrate"]],
        ready="",
        checks=[],
    )
    return App("mine", project, description, project / "app.yaml")


def silent(_: str) -> None:
    """Nobody listens."""


def test_a_machine_without_servers_is_told_the_way_out_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Machine(monkeypatch)
    project = make_project(tmp_path / "mine")
    with pytest.raises(EnvironmentUnfit, match=r"(?s)no postgres.*on this machine itself.*make setup PROVIDER=native"):
        initialise.initialise(InitOptions(project), silent)
    assert not (project / "connbench").exists()


def test_a_project_that_is_bound_to_postgresql_needs_no_other_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, "postgres")
    bound = Answer(databases=PG, apps=["django.contrib.postgres"])
    tried = try_out(app(tmp_path, "django\n"), {}, bound, None, silent)
    assert list(tried.left_out) == ["mysql", "postgres"]
    assert "django.contrib.postgres is among" in tried.left_out["mysql"]
    with pytest.raises(EnvironmentUnfit, match=r"(?s)no mysql.*make setup PROVIDER=native"):
        try_out(app(tmp_path / "other", "django\n"), {}, Answer(databases=PG), None, silent)
    assert machine.tried == [("psycopg", "psycopg3")]


def test_it_is_tried_with_its_own_drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, "postgres", "mysql")
    mine, answer = app(tmp_path, "django\npsycopg2\npymysql\n"), Answer(databases=PG)
    drivers = drivers_of(mine, answer)
    assert drivers == {"postgres": "psycopg2", "mysql": "pymysql"}
    try_out(mine, drivers, answer, None, silent)
    assert machine.tried == [("psycopg2", "psycopg2"), ("pymysql", "psycopg3")]


def test_a_package_that_brings_psycopg_3_along_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does in production: Django takes psycopg 3 wherever there is one."""

    def build(app: App, base: str, python: str) -> None:
        assert base == "psycopg2"
        raise BothDrivers("depends on psycopg 3")

    monkeypatch.setattr(initialise, "_build", build)
    assert drivers_of(app(tmp_path, "django\npsycopg2\n"), Answer(databases=PG)) == {"postgres": "psycopg"}
