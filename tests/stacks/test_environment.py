"""The app's own environment: built once for each lock, and an unfit one is told with the remedy."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner.errors import EnvironmentUnfit, StackError
from runner.provision.service import Command
from runner.stacks import environment
from runner.stacks.dependencies import AppPackages
from runner.stacks.environment import build_environment
from runner.stacks.interpreters import PythonUnfit
from runner.stacks.versions import Recipe
from tests.processes import ROOT

LOCK = "django==5.2.8 --hash=sha256:" + "0" * 64 + "\n"


class Builder:
    """Stands in for uv: notes what it is asked for, and makes the folder that it is asked for."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.fails = False
        self.busy = threading.Lock()

    def __call__(self, command: Command, **_: object) -> str:
        assert self.busy.acquire(blocking=False), "two builds at once"
        try:
            argv = list(command.argv)
            self.commands.append(argv)
            if self.fails and "sync" in argv:
                raise StackError("building uwsgi failed:\nfatal error: Python.h: No such file or directory")
            if "venv" in argv:
                Path(argv[-1]).mkdir(parents=True, exist_ok=True)
        finally:
            self.busy.release()
        return ""

    def taken(self) -> list[list[str]]:
        commands, self.commands = self.commands, []
        return commands


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lock of an environment called `some`, in a project of its own."""
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "CACHE", tmp_path / "envs")
    path = tmp_path / "requirements" / "app-some.txt"
    path.parent.mkdir()
    path.write_text(LOCK)
    (tmp_path / "requirements" / "build.txt").touch()
    return path


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> Builder:
    made = Builder()
    monkeypatch.setattr(environment, "run_command", made)
    return made


def test_a_second_build_does_nothing(lock: Path, builder: Builder) -> None:
    first = build_environment(Recipe("some"))
    venv, sync = builder.taken()
    assert venv[-1] == str(first.folder)
    assert sync[-1] == str(lock)
    assert "--require-hashes" in sync
    assert str(first.bin / "python") in sync
    assert build_environment(Recipe("some")) == first
    assert builder.taken() == []


def test_another_lock_is_another_environment(lock: Path, builder: Builder) -> None:
    first = build_environment(Recipe("some"))
    lock.write_text(LOCK.replace("5.2.8", "5.2.9"))
    second = build_environment(Recipe("some"))
    assert second.folder != first.folder
    lock.write_text(LOCK)
    builder.taken()
    assert build_environment(Recipe("some")) == first
    assert builder.taken() == [], "the older one is still there"


def test_a_build_that_failed_is_told_with_the_remedy_and_made_anew(lock: Path, builder: Builder) -> None:
    builder.fails = True
    with pytest.raises(EnvironmentUnfit, match=r"(?s)Python\.h: No such file.*make setup"):
        build_environment(Recipe("some"))
    builder.taken()
    builder.fails = False
    build_environment(Recipe("some"))
    assert len(builder.taken()) == 2


def test_two_at_once_build_once(lock: Path, builder: Builder) -> None:
    with ThreadPoolExecutor(4) as threads:
        built = list(threads.map(build_environment, [Recipe("some")] * 4))
    assert len(set(built)) == 1
    assert len(builder.commands) == 2


def test_other_versions_are_resolved_around_the_lock_once(lock: Path, builder: Builder) -> None:
    (lock.parents[1] / "pyproject.toml").write_text('[dependency-groups]\napp-some = ["psycopg[binary,pool]>=3.2"]\n')
    asked = Recipe("some", (("django", "5.1"), ("psycopg", "3.2.9")))
    built = build_environment(asked)
    compile_, _, sync = builder.taken()
    assert compile_[1:3] == ["pip", "compile"]
    overrides = Path(compile_[compile_.index("--overrides") + 1])
    assert overrides.read_text().splitlines() == ["django==5.1.*", "psycopg[binary,pool]==3.2.9"]
    assert built.name == "some+django-5.1+psycopg-3.2.9"
    assert "--require-hashes" in sync
    assert Path(sync[-1]).read_text() == LOCK, "begun with what is locked"
    assert build_environment(asked) == built
    assert builder.taken() == []
    assert build_environment(Recipe("some")).folder != built.folder


def test_two_apps_with_the_same_packages_have_one_environment(lock: Path, builder: Builder) -> None:
    (lock.parents[1] / "pyproject.toml").write_text('[dependency-groups]\napp-some = ["django>=5"]\n')
    one, other, more = (
        Recipe("some", app=AppPackages(name, packages))
        for name, packages in (("blog", ("django<6",)), ("shop", ("django<6",)), ("wiki", ("django<6", "mistune")))
    )
    built = build_environment(one)
    builder.taken()
    assert build_environment(other).folder == built.folder
    assert builder.taken() == []
    assert [build_environment(app).name for app in (one, other)] == ["some+blog", "some+shop"]
    build_environment(more)
    assert builder.taken(), "locked anew"


@pytest.mark.server
def test_a_broken_lock_is_refused_by_uv_itself(lock: Path) -> None:
    for name in ("scripts", ".connbench"):
        (lock.parents[1] / name).symlink_to(ROOT / name)
    lock.write_text("no requirement at all ===\n")
    with pytest.raises(EnvironmentUnfit, match=r"(?s)app-some\.txt failed with exit code.*make setup"):
        build_environment(Recipe("some"))
    assert not list((lock.parents[1] / "envs").glob("*/built"))


@pytest.mark.server
def test_versions_are_those_of_the_lock() -> None:
    built = build_environment(Recipe("psycopg3"))
    locked = dict(
        line.split(" ")[0].split("==")
        for line in (ROOT / "requirements" / "app-psycopg3.txt").read_text().splitlines()
        if "==" in line and not line.startswith((" ", "#"))
    )
    assert locked["django"].startswith("5.2.")
    versions = built.versions()
    assert {
        name: versions[name] for name in ("django", "gunicorn", "psycopg", "psycopg-pool", "mysqlclient", "uwsgi")
    } == {name: locked[name] for name in ("django", "gunicorn", "psycopg", "psycopg-pool", "mysqlclient", "uwsgi")}
    assert "psycopg2-binary" not in versions


@pytest.mark.server
def test_another_version_is_locked_once_and_installed() -> None:
    locks = set(environment.CACHE.glob("locks/*.txt"))
    asked = Recipe("psycopg3", (("django", "5.1"),))
    built = build_environment(asked)
    assert built.versions()["django"].startswith("5.1.")
    assert built.versions()["gunicorn"] == build_environment(Recipe("psycopg3")).versions()["gunicorn"]
    again = build_environment(asked)
    assert again == built
    assert len(set(environment.CACHE.glob("locks/*.txt")) - locks) <= 1


@pytest.mark.server
def test_versions_that_do_not_exist_or_go_together_are_told_in_uvs_words() -> None:
    with pytest.raises(EnvironmentUnfit, match=r"(?s)locking psycopg3\+django-9\.9.*django==9\.9"):
        build_environment(Recipe("psycopg3", (("django", "9.9"),)))


@pytest.mark.server
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Django 6 has packages for this Python")
def test_packages_for_another_python_alone_are_told_apart() -> None:
    with pytest.raises(PythonUnfit, match=r"(?s)Python>=3\.12.*versions: \{python: \"3\.12\"\}.*--both python=3\.12"):
        build_environment(Recipe("psycopg3", (("django", "6.1"),)))


def test_an_interpreter_that_is_missing_is_named() -> None:
    with pytest.raises(EnvironmentUnfit, match=r"there is no Python 3\.99 on this machine"):
        build_environment(Recipe("psycopg3", (("python", "3.99"),)))


def test_the_systems_python_is_told_to_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "SYSTEM_PYTHON", tmp_path / "python3")
    with pytest.raises(EnvironmentUnfit, match=r"the system has no Python of its own .*apt-get install python3"):
        build_environment(Recipe("psycopg3", system_python=True))


@pytest.mark.usefixtures("lock")
def test_the_systems_python_is_what_the_environment_is_made_with(
    builder: Builder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "python3.11").touch()
    (tmp_path / "python3").symlink_to("python3.11")
    monkeypatch.setattr(environment, "SYSTEM_PYTHON", tmp_path / "python3")
    made = build_environment(Recipe("some", system_python=True))
    venv, _ = builder.taken()
    assert venv[venv.index("--python") + 1] == str(tmp_path / "python3.11"), "with its version: a new one builds anew"
    assert made.folder != build_environment(Recipe("some")).folder
