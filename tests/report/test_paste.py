"""What is printed to be pasted: it is Python, a command line, and nothing of the harness's own."""

import ast
import shlex
from typing import Any

import pytest

from runner.report.paste import paste_of
from runner.stacks.app import load_app
from tests.matrix.examples import (
    GEVENT,
    GTHREAD,
    MYSQL,
    POSTGRES,
    RUNSERVER,
    SYNC,
    UVICORN,
    UWSGI,
    UWSGI_GEVENT,
    age,
    bouncer,
    make_cell,
    pool,
)

APP = load_app("shop").description


def settings_of(text: str, **environ: str) -> dict[str, Any]:
    """What the text makes of a settings module."""
    ast.parse(text)
    found: dict[str, Any] = {}
    exec(text.replace('os.environ["', '_env["'), {"_env": environ}, found)
    return found


ENVIRONMENT = {f"DB_{name}": name.lower() for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT")}


def test_the_settings_are_python_with_the_deployment_s_own_in_variables() -> None:
    text = paste_of(make_cell(POSTGRES, UWSGI, {**pool(min_size=2, max_size=4, timeout="5s")}), APP).settings
    found = settings_of(text, **ENVIRONMENT)["DATABASES"]["default"]
    assert found == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "name",
        "USER": "user",
        "PASSWORD": "password",
        "HOST": "host",
        "PORT": "port",
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": False,
        "OPTIONS": {"pool": {"min_size": 2, "max_size": 4, "timeout": 5.0}},
    }


def test_text_in_the_settings_stays_text() -> None:
    connection = {"conn_max_age": None, "options": {"application_name": 'a "b" \\ c'}}
    found = settings_of(paste_of(make_cell(POSTGRES, UWSGI, connection), APP).settings, **ENVIRONMENT)
    assert found["DATABASES"]["default"]["OPTIONS"] == {"application_name": 'a "b" \\ c'}
    assert found["DATABASES"]["default"]["CONN_MAX_AGE"] is None


@pytest.mark.parametrize(
    ("server", "wanted"),
    [
        (SYNC, "gunicorn shop.wsgi:application --bind 127.0.0.1:8000 --workers 4 --worker-class sync"),
        (
            {**GTHREAD, "graceful_timeout": 9},
            (
                "gunicorn shop.wsgi:application --bind 127.0.0.1:8000 --workers 4 --worker-class gthread "
                "--graceful-timeout 9 --threads 4"
            ),
        ),
        (
            GEVENT,
            (
                "gunicorn shop.wsgi:application --bind 127.0.0.1:8000 --workers 2 --worker-class gevent "
                "--worker-connections 100"
            ),
        ),
        (UVICORN, "uvicorn shop.asgi:application --host 127.0.0.1 --port 8000 --workers 2 --lifespan off"),
        (RUNSERVER, "python manage.py runserver --noreload 127.0.0.1:8000"),
        ({"kind": "daphne"}, "daphne --bind 127.0.0.1 --port 8000 shop.asgi:application"),
        (
            {"kind": "granian", "interface": "wsgi", "workers": 2, "blocking_threads": 4},
            (
                "granian --interface wsgi --host 127.0.0.1 --port 8000 --workers 2 --blocking-threads 4 "
                "shop.wsgi:application"
            ),
        ),
        ({"kind": "mod_wsgi", "processes": 2, "threads": 3}, "WSGIDaemonProcess app processes=2 threads=3"),
    ],
)
def test_the_command_line_is_what_was_measured_without_the_measuring(server: dict[str, Any], wanted: str) -> None:
    assert paste_of(make_cell(POSTGRES, server, age(60)), APP).command == wanted


@pytest.mark.parametrize("server", [UWSGI, UWSGI_GEVENT])
def test_uwsgi_keeps_what_bears_on_its_connections(server: dict[str, Any]) -> None:
    words = shlex.split(paste_of(make_cell(MYSQL, server, age(60)), APP).command)
    assert words[:4] == ["uwsgi", "--master", "--http-socket", "127.0.0.1:8000"]
    assert {"--processes", "--lazy-apps", "--listen"} <= set(words)
    assert not {"--home", "--req-logger", "--log-format"} & set(words)


def test_a_pooler_s_section_has_its_own_spelling() -> None:
    text = paste_of(
        make_cell(POSTGRES, UWSGI, age(0), bouncer(pool_size=6, settings={"server_lifetime": 60})), APP
    ).pooler
    assert text.splitlines() == [
        "; pgbouncer, one on each host",
        "pool_mode = transaction",
        "default_pool_size = 6",
        "server_lifetime = 60",
    ]
    assert paste_of(make_cell(POSTGRES, UWSGI, age(0)), APP).pooler == ""
