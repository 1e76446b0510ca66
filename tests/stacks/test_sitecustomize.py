"""Whatever a project does to name its own settings, its processes have the overlay's: its own database stays alone."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from runner.errors import StackError
from runner.provision.commands import run_command
from runner.provision.service import Command
from runner.stacks.app import App, AppDescription, make_overlay
from runner.stacks.environment import build_environment
from runner.stacks.servers.base import ServerSpec
from runner.stacks.servers.granian import GranianSpec
from runner.stacks.servers.gunicorn import GunicornSpec
from runner.stacks.servers.uvicorn import UvicornSpec
from runner.stacks.servers.uwsgi import UwsgiSpec
from runner.stacks.versions import Recipe
from tests.adopt.projects import FORCED, make_project
from tests.shops import HOST, serving

pytestmark = pytest.mark.server

#: What runs before Django reads its settings; the last as `load_dotenv(override=True)` does it.
FILES = ("manage.py", *(f"site_of_mine/{name}.py" for name in ("__init__", "wsgi", "asgi", "settings")))


def cells_database(folder: Path) -> dict[str, str]:
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "cell.sqlite3")}


def python(app: App, folder: Path, *arguments: str) -> str:
    """A Python of the app's environment under the overlay, in the project's folder."""
    env = make_overlay(app, cells_database(folder), HOST).env
    argv = [str(build_environment(Recipe("psycopg3")).bin / "python"), *arguments]
    return run_command(Command(argv, env, app.folder), limit=120, what=" ".join(arguments))


@pytest.fixture
def app(tmp_path: Path) -> App:
    """One that insists on its own settings wherever it can, and reads them before Django's command line does."""
    project = make_project(tmp_path / "mine")
    for name in FILES:
        (project / name).write_text(FORCED.format(settings="site_of_mine.settings") + (project / name).read_text())
    manage = (project / "manage.py").read_text()
    asking = "    from django.conf import settings\n\n    assert not settings.DEBUG\n"
    (project / "manage.py").write_text(manage.replace("    execute_from", f"{asking}    execute_from"))
    description = AppDescription(
        settings="site_of_mine.settings",
        wsgi="site_of_mine.wsgi:application",
        asgi="site_of_mine.asgi:application",
        setup=[],
        ready="",
        checks=[],
    )
    return App("mine", project, description, project / "app.yaml")


def tables(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


@pytest.mark.parametrize("arguments", [[], ["--settings=site_of_mine.settings"]])
def test_set_up_works_on_the_cells_database(app: App, tmp_path: Path, arguments: list[str]) -> None:
    python(app, tmp_path, "manage.py", "migrate", "--no-input", "--verbosity=0", *arguments)
    assert "auth_user" in tables(tmp_path / "cell.sqlite3")
    assert not (app.folder / "db.sqlite3").exists()


def test_a_process_that_another_one_starts_has_them_too(app: App, tmp_path: Path) -> None:
    script = "import os, subprocess, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'site_of_mine.settings'; "
    script += "subprocess.run([sys.executable, 'manage.py', 'migrate', '--verbosity=0'], check=True)"
    python(app, tmp_path, "-c", script)
    assert "auth_user" in tables(tmp_path / "cell.sqlite3")
    assert not (app.folder / "db.sqlite3").exists()


def test_settings_without_a_module_are_refused_in_words(app: App, tmp_path: Path) -> None:
    manage = app.folder / "manage.py"
    own = 'from django.conf import settings\nsettings.configure(DATABASES={"default": {"ENGINE": "x"}})\n'
    manage.write_text(own + manage.read_text())
    with pytest.raises(StackError, match=r"settings\.configure\(\) was called, so that the database under test could"):
        python(app, tmp_path, "manage.py", "migrate")


@pytest.mark.parametrize(
    "server",
    [
        GunicornSpec(workers=1),
        UwsgiSpec(processes=1, threads=1),
        # Its workers are started anew, with the environment of a parent that may have loaded the app.
        UvicornSpec(workers=2),
        GranianSpec(workers=1),
    ],
    ids=lambda server: server.kind,
)
def test_every_server_has_the_cells_database(server: ServerSpec, app: App, tmp_path: Path) -> None:
    python(app, tmp_path, "manage.py", "migrate", "--verbosity=0")
    with serving(server, cells_database(tmp_path), tmp_path, app=app) as served:
        assert "0 users" in served.get("/").text
    assert not (app.folder / "db.sqlite3").exists()
