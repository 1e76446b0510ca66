"""What is put on top of an app's own settings, in a process of its environment."""

import json
from pathlib import Path

import pytest

from runner.provision.commands import run_command
from runner.provision.service import Command
from runner.stacks.app import App, AppDescription, make_overlay
from runner.stacks.environment import build_environment
from runner.stacks.versions import Recipe
from tests.adopt.projects import make_project

MANIFEST = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
PLAIN = "django.contrib.staticfiles.storage.StaticFilesStorage"
#: Of a project's code, imported by its settings.
HELPERS = """\
from django.conf import settings

taken = [settings.SECRET_KEY, settings.DATABASES]
"""
pytestmark = pytest.mark.server


def told(
    tmp_path: Path, more: str, expression: str, *, plain_static: bool = False, env: dict[str, str] | None = None
) -> object:
    """What an expression comes to in a process of a project whose settings end with `more`."""
    description = AppDescription(
        settings="site_of_mine.settings",
        wsgi="x:y",
        plain_static=plain_static,
        env=env or {},
        setup=[],
        ready="",
        checks=[],
    )
    project = make_project(tmp_path / "mine", f"STATIC_URL = '/static/'\n{more}")
    (project / "helpers.py").write_text(HELPERS)
    environment = make_overlay(App("mine", project, description, project / "app.yaml"), {"ENGINE": ""}, "127.0.0.1").env
    script = (
        "import json, os; began = dict(os.environ); from django.conf import settings; settings.DEBUG; "
        f"from connbench_settings import *; print(json.dumps({expression}))"
    )
    python = str(build_environment(Recipe("psycopg3")).bin / "python")
    return json.loads(run_command(Command([python, "-c", script], environment, project), limit=120, what=expression))


@pytest.mark.parametrize("setting", [f'STORAGES = {{"default": {{}}, "staticfiles": {{"BACKEND": "{MANIFEST}"}}}}', ""])
def test_static_files_go_by_their_plain_names_where_nothing_has_collected_others(tmp_path: Path, setting: str) -> None:
    found = told(tmp_path, setting, "[STORAGES, 'STATICFILES_STORAGE' in globals()]", plain_static=True)
    default: dict[str, object] = {"default": {}} if setting else {}
    assert found == [{**default, "staticfiles": {"BACKEND": PLAIN}}, False]


def test_the_setting_that_older_versions_of_django_have_is_used_where_the_app_does(tmp_path: Path) -> None:
    own = f'STATICFILES_STORAGE = "{MANIFEST}"'
    both = "[STATICFILES_STORAGE, 'STORAGES' in globals()]"
    assert told(tmp_path / "plain", own, both, plain_static=True) == [PLAIN, False]
    assert told(tmp_path / "own", own, both, plain_static=False) == [MANIFEST, False]


def test_what_steers_servers_and_libpq_is_seen_by_the_settings_alone(tmp_path: Path) -> None:
    """A deployment's `.env` has both; libpq takes PGHOSTADDR before the HOST that Django gives it."""
    env = {"PGHOSTADDR": "127.0.0.2", "WEB_CONCURRENCY": "9", "GUNICORN_CMD_ARGS": "--preload", "COLOUR": "red"}
    names = sorted(env)
    more = f"os.environ['PGSERVICE'] = 'live'\nSEEN = [os.environ[name] for name in {names}]"
    found = told(
        tmp_path,
        more,
        f"[SEEN, *[[one.get(n) for n in {[*names, 'PGSERVICE']}] for one in (began, os.environ)]]",
        env=env,
    )
    inside = [env[name] for name in names]
    outside = ["red", None, None, None, None]
    assert found == [inside, outside, outside]


def test_settings_may_import_code_that_asks_django_for_them(tmp_path: Path) -> None:
    """As Django does it, that code gets the settings so far; the app's own databases are not among them."""
    more = "from helpers import taken as TAKEN\nLATER = 1"
    expression = "[*settings.TAKEN, settings.LATER, list(settings.DATABASES)]"
    assert told(tmp_path, more, expression) == ["not a secret", {}, 1, ["default"]]
