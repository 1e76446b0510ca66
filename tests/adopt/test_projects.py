"""Real projects, small ones: taken up and checked on both databases, or refused with the reason."""

import re
from pathlib import Path

import pytest

from runner.adopt.ask import IN_MEMORY, Answer, ask
from runner.adopt.initialise import fitting
from runner.adopt.look import look_at
from runner.adopt.present import own_connection
from runner.provision.commands import run_command
from runner.provision.service import Command
from runner.stacks.app import App, AppDescription, Process, load_app, make_overlay
from runner.stacks.environment import AppEnvironment
from tests.adopt.commands import call
from tests.adopt.projects import make_awkward_project, make_project

pytestmark = [pytest.mark.server, pytest.mark.timeout(1500)]


def test_a_plain_project_needs_nothing_said(tmp_path: Path) -> None:
    """As `django-admin startproject` leaves it, with some views: two commands, nothing asked.

    What its settings print, and its own server's configuration, do no harm.
    """
    noise = "import atexit\nimport sys\nsys.stdout.write('Loading … ')\natexit.register(print, 'bye')\n"
    project = make_project(tmp_path / "mine", noise)
    (project / "gunicorn.conf.py").write_text("raise SystemExit('this was read')\n")
    done = call("init", project, folder=tmp_path)
    assert done.code == 0, done.text
    assert "/broken/ answers 500, and is left out" in done.text
    app = load_app(str(project / "connbench"))
    assert (app.name, app.folder) == ("mine", project)
    assert [(check.path, check.contains, check.database) for check in app.description.checks] == [
        ("/", "Mine", True),
        ("/about/", "", False),
    ]
    assert app.description.ready == "/about/", "the cheapest page"
    matrix = project / "connbench" / "matrix.yaml"
    done = call("check", "-m", matrix, folder=tmp_path)
    assert done.code == 0, done.text
    for name in ("pg", "my"):
        assert f"ok {name}: GET / answers 200" in done.text
    assert done.text.count("requests of 2 kinds, none failed") == 2
    assert "mine is ready" in done.text
    again = call("init", project, folder=tmp_path)
    assert again.code == 2
    assert "has app.yaml, matrix.yaml, traffic.py already: --force writes them anew" in again.text


def test_what_is_wrong_is_said_before_a_long_matrix(tmp_path: Path) -> None:
    """A check that fails, and traffic that does: each is told, and the others are tried all the same."""
    project = make_project(tmp_path / "mine")
    (project / "app.yaml").write_text(
        "settings: site_of_mine.settings\nwsgi: site_of_mine.wsgi:application\ndependencies: [requirements.txt]\n"
        "setup: [[migrate, --no-input]]\nready: /about/\ntraffic: ./traffic.py\n"
        "checks:\n  - {path: /, contains: Yours}\n  - {path: /gone/}\n  - {path: /about/}\n"
    )
    (project / "traffic.py").write_text(
        "from locust import task\n\nfrom runner.load.user import BenchmarkUser\n\n\nclass Visitor(BenchmarkUser):\n"
        "    @task\n    def ask(self):\n        self.client.get('/broken/')\n"
    )
    matrix = project / "matrix.yaml"
    matrix.write_text(
        "name: mine\napp: ./app.yaml\ndatabases: {pg: {engine: postgres}}\nservers: {g: {kind: gunicorn}}\n"
        "connections: {c: {conn_max_age: 0}}\nmatrix: {database: [pg]}\n"
    )
    done = call("check", "-m", matrix, folder=tmp_path)
    assert done.code == 1, done.text
    assert "WRONG pg: GET /: 'Yours' is not in the answer" in done.text
    assert "WRONG pg: GET /gone/: status 404, expected 200" in done.text
    assert "ok pg: GET /about/ answers 200" in done.text
    assert "HTTP 500 (GET /broken/)" in done.text
    assert "3 things wrong" in done.text


def test_a_grown_up_project_needs_nothing_said_either(tmp_path: Path) -> None:
    """dj-database-url, django-environ, a settings package, a custom user model, ATOMIC_REQUESTS and a replica; a src
    layout whose files insist on their settings, and static files that a deployment collects."""
    project = make_awkward_project(tmp_path / "awkward")
    done = call("init", project, folder=tmp_path)
    assert done.code == 0, done.text
    assert "SITE_SECRET has no value in the project" in done.text
    description = load_app(str(project / "connbench")).description
    assert description.settings == "site_of_mine.settings.production"
    assert {name: description.env[name] for name in ("SITE_FLAG", "REPLICA_URL")} == {
        "SITE_FLAG": "on",
        "REPLICA_URL": "postgres://live:secret@replica.example/live",
    }
    assert description.databases == {"replica": "default"}
    assert (description.python_path, description.plain_static) == (["../src"], True)
    assert description.setup == [["migrate", "--no-input"]]
    assert all(check.database for check in description.checks), "every view is a transaction"
    text = (project / "connbench" / "matrix.yaml").read_text()
    assert "present: {conn_max_age: 600, conn_health_checks: true}" in text
    assert "per-request: {conn_max_age: 0}" in text
    checks = (
        (project / "connbench" / "app.yaml")
        .read_text()
        .replace(
            'path: "/styled/", status: 200', 'path: "/styled/", status: 200, contains: "styled by /static/site.css"'
        )
        .replace('path: "/about/", status: 200', 'path: "/about/", status: 200, contains: "in a transaction: True"')
    )
    (project / "connbench" / "app.yaml").write_text(
        checks.replace('path: "/", status: 200, contains: "Mine"', 'path: "/", status: 200, contains: "1 users"')
    )
    done = call("check", "-m", project / "connbench" / "matrix.yaml", folder=tmp_path)
    assert done.code == 0, done.text
    assert "GET /styled/ answers 200" in done.text
    assert list(project.rglob("collected")) == [], "nothing of the project is changed"


def asked(tmp_path: Path, more: str, databases: dict[str, str] | None = None, storage: str = "") -> Answer:
    """What a project says whose settings end so; nothing is started but its interpreter."""
    project = make_project(tmp_path / "mine", more)
    known = (
        "from django.core.files.storage import FileSystemStorage\nfrom django.contrib.staticfiles.storage import *\n"
    )
    (project / "site_of_mine" / "storage.py").write_text(known + storage)
    app, environment = taken_up(project, databases)
    return ask(app, environment)[0]


def taken_up(project: Path, databases: dict[str, str] | None = None) -> tuple[App, AppEnvironment]:
    found = look_at(project)
    description = AppDescription.model_validate(
        {
            "settings": found.settings,
            "wsgi": found.wsgi,
            "dependencies": [str(path) for path in found.dependencies],
            "databases": databases or {},
            "setup": [],
            "ready": "",
            "checks": [],
        }
    )
    return fitting(App("mine", project, description, project / "app.yaml"), lambda _: None)


def test_a_plain_projects_answer(tmp_path: Path) -> None:
    answer = asked(tmp_path, "")
    assert answer.problem == ""
    assert list(answer.paths) == ["/", "/about/", "/broken/"], "a path with a parameter in it is no page"
    assert answer.django.startswith("5.2.")
    assert (answer.debug, answer.https, answer.user_model, answer.family) == (False, False, "auth.User", "")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ('DATABASES["default"]["ENGINE"] = "django.contrib.gis.db.backends.postgis"', "GeoDjango's engine"),
        ('DATABASES["default"]["ENGINE"] = "django_tenants.postgresql_backend"', "does more than Django's own"),
        (
            'DATABASES["stock"] = {"ENGINE": "django.db.backends.mysql", "NAME": "stock"}',
            r"has 'stock' beside 'default'.*`stock: default`.*`stock: none`",
        ),
        (
            'DATABASES["cache"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": "cache.sqlite3"}',
            r"has 'cache' beside 'default', in a file.*`cache: keep`",
        ),
        (
            """
MYSQL, NAMES = "django.db.backends.mysql", {"default": "DB_NAME", "stock": "STOCK_DB_NAME"}
DATABASES = {alias: {"ENGINE": MYSQL, "NAME": os.environ[name]} for alias, name in NAMES.items()}
""",
            r"has 'stock' beside 'default'",
        ),
        ('raise RuntimeError("not on this machine")', "RuntimeError: not on this machine"),
        ('INSTALLED_APPS += ["no_such_app"]', "ModuleNotFoundError: No module named 'no_such_app'"),
    ],
)
def test_what_cannot_be_handled_is_refused_with_the_reason(tmp_path: Path, more: str, reason: str) -> None:
    assert re.search(reason, asked(tmp_path, more).problem)


def test_a_package_that_the_file_does_not_name_is_told_with_the_way_out(tmp_path: Path) -> None:
    project = make_project(tmp_path / "mine", 'INSTALLED_APPS += ["no_such_app"]')
    (project / "deployed.txt").write_text((project / "requirements.txt").read_text())
    done = call("init", project, "--dependencies", project / "deployed.txt", folder=tmp_path)
    assert done.code == 2, done.text
    assert "No module named 'no_such_app'; the packages are those of deployed.txt (--dependencies FILE" in done.text
    assert not (project / "connbench").exists()


def test_a_database_that_somebody_has_decided_about(tmp_path: Path) -> None:
    more = 'DATABASES["stock"] = {"ENGINE": "django.db.backends.mysql", "NAME": "stock"}'
    assert asked(tmp_path, more, {"stock": "none"}).problem == ""


def test_what_holds_its_connections_is_asked_in_its_own_process(tmp_path: Path) -> None:
    """A pool's own values, whatever they are made of, and what its code puts in MySQLdb's place; no secret."""
    more = """
import pymysql

pymysql.install_as_MySQLdb()
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "live",
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "pool": {"min_size": len("ab"), "max_size": 20, "timeout": 5, "reset": print},
            "service": "quite private",
        },
    }
}
DATABASE_POOL_ARGS = {"pool_size": 7}
"""
    answer = asked(tmp_path, more)
    assert (answer.problem, answer.mysql_driver) == ("", "pymysql")
    assert answer.pool_settings == {"DATABASE_POOL_ARGS": {"pool_size": 7}}
    assert "quite private" not in str(answer)
    found = own_connection(answer.default, answer.pool_settings)
    assert found.connection == {
        "pool": {"kind": "native", "min_size": 2, "max_size": 20, "timeout": "5s"},
        "conn_health_checks": True,
    }
    assert found.left == ("the pool's reset", "OPTIONS[service]")


def test_a_project_with_psycopg2_alone_is_tried_with_it(tmp_path: Path) -> None:
    """A page of its own says which driver it has."""
    project = make_project(tmp_path / "mine", 'INSTALLED_APPS += ["django.contrib.postgres"]')
    with (project / "site_of_mine" / "urls.py").open("a") as urls:
        urls.write(
            "\n\ndef driver(request):\n    return HttpResponse(f'<title>{connection.Database.__name__}</title>')\n"
        )
        urls.write("\n\nurlpatterns.append(path('driver/', driver))\n")
    (project / "requirements.txt").write_text("Django>=5.2,<5.3\npsycopg2>=2.9\n")
    done = call("init", project, folder=tmp_path)
    assert done.code == 0, done.text
    matrix = (project / "connbench" / "matrix.yaml").read_text()
    assert "pg: {engine: postgres, driver: psycopg2}  # as the project has it" in matrix
    assert 'path: "/driver/", status: 200, contains: "psycopg2"' in (project / "connbench" / "app.yaml").read_text()


@pytest.mark.parametrize(("driver", "module"), [("mysqlclient", "MySQLdb"), ("pymysql", "pymysql")])
def test_the_cells_driver_is_the_last_word(tmp_path: Path, driver: str, module: str) -> None:
    """Also where the project's own code puts PyMySQL in MySQLdb's place."""
    project = make_project(tmp_path / "mine", "import pymysql\n\npymysql.install_as_MySQLdb()\n")
    app, environment = taken_up(project)
    env = make_overlay(app, IN_MEMORY, "127.0.0.1", process=Process(driver)).env
    code = "from django.conf import settings; settings.DATABASES; import MySQLdb; print(MySQLdb.__name__)"
    command = Command([str(environment.bin / "python"), "-c", code], env, project)
    assert run_command(command, limit=120, what="the driver").strip() == module


def test_what_it_needs_beside_migrations(tmp_path: Path) -> None:
    more = """
CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache"}}
INSTALLED_APPS += ["django.contrib.staticfiles", "django.contrib.postgres"]
SECURE_SSL_REDIRECT = True
"""
    answer = asked(tmp_path, more)
    assert answer.more_setup == [["createcachetable"]]
    assert not answer.plain_static
    assert "django.contrib.postgres is among" in answer.postgres_alone
    assert any("SECURE_SSL_REDIRECT is on" in note for note in answer.notes)


MANIFEST = """
INSTALLED_APPS += ["django.contrib.staticfiles"]
STATIC_URL, STATIC_ROOT = "static/", str(BASE_DIR / "collected")
STORAGES = {"staticfiles": {"BACKEND": "site_of_mine.storage.Storage"}}
"""
KINDS = {
    "local": "ManifestStaticFilesStorage",
    # As that of django-storages: the list is where the files are.
    "remote": "ManifestFilesMixin, FileSystemStorage",
    "plain": "StaticFilesStorage",
}


@pytest.mark.parametrize(
    ("kind", "made", "plain"),
    [("local", False, True), ("local", True, False), ("remote", True, True), ("plain", False, False)],
)
def test_static_files_that_nobody_has_collected_here_are_told(
    tmp_path: Path, kind: str, made: bool, plain: bool
) -> None:
    folder = tmp_path / "mine"
    if made:
        (folder / "collected").mkdir(parents=True)
        (folder / "collected" / "staticfiles.json").write_text('{"version": "1.1", "paths": {}, "hash": ""}')
    answer = asked(tmp_path, MANIFEST, storage=f"class Storage({KINDS[kind]}):\n    pass\n")
    assert (answer.problem, answer.plain_static) == ("", plain)
    assert any("static files have not been collected" in note for note in answer.notes) == plain
    assert answer.more_setup == []
