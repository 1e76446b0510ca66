"""The files that are written: readable by a person, and by the commands that read them."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.adopt.access_log import WeightedRequest
from runner.adopt.ask import Answer
from runner.adopt.look import Found
from runner.adopt.traffic import as_locust_file, parse_methods, write_traffic
from runner.adopt.trial import Page
from runner.adopt.variables import Variable
from runner.adopt.writing import Adopted, app_yaml, matrix_yaml
from runner.errors import UsageError
from runner.matrix.expansion import expand
from runner.matrix.reading import read_matrix
from runner.stacks.app import App, load_app
from runner.stacks.pools.native import NativePoolSpec
from tests.processes import ROOT

PAGES = [
    Page("/", 200, '<title>It\'s: #1 {"home"}</title>', "", asked_database=True, milliseconds=1.0),
    Page("/about/", 200, "", "", asked_database=False, milliseconds=1.0),
]


def adopted(tmp_path: Path) -> Adopted:
    (tmp_path / "manage.py").touch()
    (tmp_path / ".env").write_text("TOKEN=quiet\nPORT=1\n")
    (tmp_path / "requirements.txt").write_text("django\n")
    found = Found(
        folder=tmp_path,
        project=tmp_path,
        settings="site.settings",
        wsgi="site.wsgi:application",
        asgi="",
        dependencies=(tmp_path / "requirements.txt",),
        python="",
        python_from="",
        env_files=(tmp_path / ".env",),
        env_examples=(),
    )
    return Adopted(
        found=found,
        answer=Answer(databases={"default": {"ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": None}}),
        variables=[Variable("SECRET", "a: b # c", ".env.example"), Variable("PORT", "5432", "")],
        python="3.12",
        aliases={"replica": "default"},
        setup=[["migrate", "--no-input"]],
        apps={"postgres": ["django.contrib.postgres"]},
        pages=PAGES,
        databases=["postgres", "mysql"],
        left_out={},
        drivers={},
    )


def written(one: Adopted, tmp_path: Path) -> App:
    out = tmp_path / "connbench"
    out.mkdir(exist_ok=True)
    (out / "app.yaml").write_text(app_yaml(one, out))
    (out / "matrix.yaml").write_text(matrix_yaml(one))
    (out / "traffic.py").touch()
    return load_app(str(out))


def test_app_yaml_says_which_settings_are_measured_where_two_are_named(tmp_path: Path) -> None:
    one = adopted(tmp_path)
    two = replace(one, found=replace(one.found, deployed_settings="site.production"))
    note = "# Note: manage.py names site.settings, which is measured, and .env or an entry point site.production ("
    assert note in app_yaml(two, tmp_path)
    assert "or an entry point" not in app_yaml(one, tmp_path)
    assert written(two, tmp_path).description.settings == "site.settings"


def test_app_yaml_says_what_was_found(tmp_path: Path) -> None:
    app = written(adopted(tmp_path), tmp_path)
    description = app.description
    assert app.folder == tmp_path
    assert description.env == {"SECRET": "a: b # c", "PORT": "5432"}
    assert app.env == {"SECRET": "a: b # c", "PORT": "5432", "TOKEN": "quiet"}
    assert description.databases == {"replica": "default"}
    assert description.apps == {"postgres": ["django.contrib.postgres"]}
    assert [(check.path, check.contains, check.database) for check in description.checks] == [
        ("/", 'It\'s: #1 {"home"}', True),
        ("/about/", "", False),
    ]
    assert (description.python, description.ready) == ("3.12", "/about/")
    assert app.traffic == str(tmp_path / "connbench" / "traffic.py")
    assert app.packages is not None
    assert app.packages.requirements == ("django",)


def test_the_matrix_has_four_cells_on_two_databases(tmp_path: Path) -> None:
    written(adopted(tmp_path), tmp_path)
    matrix = read_matrix(tmp_path / "connbench" / "matrix.yaml")
    cells = expand(matrix).cells
    assert [cell.id for cell in cells] == [
        f"{database}-gunicorn-{connection}" for database in ("pg", "my") for connection in ("present", "per-request")
    ]
    assert cells[0].connection.conn_max_age is None, "as the settings have it"
    assert cells[0].load.profile == str(tmp_path / "connbench" / "traffic.py")
    assert matrix.app == str(tmp_path / "connbench" / "app.yaml")


def test_one_database_has_four_cells_too(tmp_path: Path) -> None:
    one = replace(adopted(tmp_path), databases=["postgres"], left_out={"mysql": "it is written\nfor PostgreSQL"})
    written(one, tmp_path)
    matrix = tmp_path / "connbench" / "matrix.yaml"
    assert "# Without mysql: it is written\n" in matrix.read_text()
    assert len(expand(read_matrix(matrix)).cells) == 4


def test_an_asgi_project_has_an_asgi_server(tmp_path: Path) -> None:
    one = adopted(tmp_path)
    found = replace(one.found, wsgi="", asgi="site.asgi:application")
    written(replace(one, found=found), tmp_path)
    cells = expand(read_matrix(tmp_path / "connbench" / "matrix.yaml")).cells
    assert {cell.server.entry_point for cell in cells} == {"asgi"}


def settings(**more: Any) -> Answer:
    return Answer(databases={"default": {"ENGINE": "django.db.backends.postgresql", **more}})


def test_a_native_pool_is_kept_as_it_is(tmp_path: Path) -> None:
    pool = {"min_size": 2, "max_size": 20, "timeout": 5}
    answer = settings(OPTIONS={"pool": pool}, CONN_HEALTH_CHECKS=True, DISABLE_SERVER_SIDE_CURSORS=True)
    written(replace(adopted(tmp_path), answer=answer), tmp_path)
    matrix = tmp_path / "connbench" / "matrix.yaml"
    assert re.search(r"present: .*  # as the settings have it$", matrix.read_text(), re.MULTILINE)
    expansion = expand(read_matrix(matrix))
    present, other = expansion.cells[0].connection, expansion.cells[1].connection
    assert present.pool == NativePoolSpec(kind="native", min_size=2, max_size=20, timeout="5s")
    assert present.conn_health_checks
    assert (other.pool, other.conn_max_age) == (None, 0)
    assert present.disable_server_side_cursors
    assert other.disable_server_side_cursors, "how the code works is the same"
    assert [cell.id for cell in expansion.skipped] == ["my-gunicorn-present"]


def test_what_the_matrix_cannot_say_is_named_in_both_files(tmp_path: Path) -> None:
    answer = settings(OPTIONS={"pool": {"max_lifetime": 7200}, "sslmode": "<str>"})
    written(replace(adopted(tmp_path), answer=answer), tmp_path)
    named = "the pool's max_lifetime, OPTIONS[sslmode]"
    assert f"# as the settings have it, but for {named}\n" in (tmp_path / "connbench" / "matrix.yaml").read_text()
    assert f"this is not taken over: {named};" in (tmp_path / "connbench" / "app.yaml").read_text()


def test_the_drivers_are_the_projects_own(tmp_path: Path) -> None:
    one = adopted(tmp_path)
    unknown = "none of its packages is a driver for postgres"
    written(one, tmp_path)
    assert unknown in (tmp_path / "connbench" / "app.yaml").read_text()
    written(replace(one, drivers={"postgres": "psycopg2", "mysql": "pymysql"}), tmp_path)
    assert unknown not in (tmp_path / "connbench" / "app.yaml").read_text()
    databases = read_matrix(tmp_path / "connbench" / "matrix.yaml").databases
    assert {name: spec.driver for name, spec in databases.items()} == {"pg": "psycopg2", "my": "pymysql"}


def test_nothing_found_is_still_a_valid_description(tmp_path: Path) -> None:
    one = replace(adopted(tmp_path), pages=[], variables=[], aliases={}, apps={}, python="")
    one = replace(one, found=replace(one.found, dependencies=()))
    description = written(one, tmp_path).description
    assert (list(description.checks), description.ready, list(description.dependencies)) == ([], "", [])


def test_the_traffic_is_a_locust_file(tmp_path: Path) -> None:
    requests = [WeightedRequest("GET", "/a/1/?x='2'", "/a/[id]/", 3), WeightedRequest("POST", "/b/", "/b/", 1)]
    path = tmp_path / "traffic.py"
    path.write_text(as_locust_file(requests, 'From a """log\\', "traffic.py"))
    # Locust patches the standard library when it is imported: not in this process.
    code = f"from locust.util.load_locustfile import load_locustfile as load; print(*load({str(path)!r})[0])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["Visitor"], done.stderr


def test_a_log_becomes_a_file_once(tmp_path: Path) -> None:
    log, out = tmp_path / "access.log", tmp_path / "traffic.py"
    log.write_text('- - - [x] "GET /a/1/ HTTP/1.1" 200 0\n- - - [x] "GET /a/2/ HTTP/1.1" 200 0\n')
    assert write_traffic(log, ["GET"], out, force=False) == f"{out}: 2 requests of 1 kinds, 2 of 2 lines"
    assert "('GET', '/a/1/', '/a/[id]/', 1)" in out.read_text()
    with pytest.raises(UsageError, match="--force writes over it"):
        write_traffic(log, ["GET"], out, force=False)


def test_methods_are_those_that_can_be_sent() -> None:
    assert parse_methods("get, POST") == ["GET", "POST"]
    for text in ("", "DELETE", "GET,PUT"):
        with pytest.raises(UsageError, match="allowed: GET and POST"):
            parse_methods(text)
