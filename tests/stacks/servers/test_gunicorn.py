"""gunicorn: which parameters make sense, what is started, what it can hold."""

import ast
import signal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from runner.stacks.servers.gunicorn import GunicornSpec
from tests.stacks.servers.launching import LAUNCH, options


def spec(**parameters: Any) -> GunicornSpec:
    return GunicornSpec.model_validate(parameters)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"threads": 4}, "threads needs worker_class gthread, not sync"),
        ({"worker_class": "gevent", "threads": 4}, "threads needs worker_class gthread, not gevent"),
        (
            {"worker_class": "gthread", "worker_connections": 9},
            "worker_connections needs worker_class gevent or eventlet, not gthread",
        ),
        ({"worker_class": "gthread", "psycogreen": True}, "psycogreen needs worker_class gevent"),
        ({"workers": 0}, "greater than or equal to 1"),
        ({"worker_class": "eventlet", "psycogreen": True}, "psycogreen needs worker_class gevent, not eventlet"),
        ({"keep_alive": 5}, "keep_alive needs another worker_class than sync"),
        ({"max_requests_jitter": 5}, "max_requests_jitter needs max_requests"),
        ({"query_at_import": True}, "query_at_import needs preload: true"),
        ({"worker_class": "tornado"}, "'sync', 'gthread', 'gevent', 'eventlet' or 'uvicorn'"),
        ({"wokers": 4}, "Extra inputs"),
    ],
)
def test_a_parameter_that_would_do_nothing_is_refused(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        spec(**parameters)


@pytest.mark.parametrize(
    ("parameters", "processes", "threads", "limit", "keeps_alive", "cooperative", "title"),
    [
        ({}, 4, 1, None, False, False, "gunicorn sync 4"),
        ({"worker_class": "gthread"}, 4, 1, None, True, False, "gunicorn gthread 4"),
        ({"worker_class": "gthread", "workers": 2, "threads": 8}, 2, 8, None, True, False, "gunicorn gthread 2 × 8"),
        ({"worker_class": "gevent", "workers": 2}, 2, None, 1000, True, True, "gunicorn gevent 2"),
        ({"worker_class": "gevent", "worker_connections": 9}, 4, None, 9, True, True, "gunicorn gevent 4"),
        ({"worker_class": "gevent", "keep_alive": 0}, 4, None, 1000, False, True, "gunicorn gevent 4"),
        ({"worker_class": "eventlet"}, 4, None, 1000, True, True, "gunicorn eventlet 4"),
        ({"worker_class": "uvicorn", "workers": 2}, 2, None, None, True, False, "gunicorn uvicorn 2"),
        ({"preload": True}, 4, 1, None, False, False, "gunicorn sync 4 preloaded"),
    ],
)
def test_what_it_can_hold(
    parameters: dict[str, Any],
    processes: int,
    threads: int | None,
    limit: int | None,
    keeps_alive: bool,
    cooperative: bool,
    title: str,
) -> None:
    found = spec(**parameters)
    assert (found.process_count, found.threads_per_process, found.client_limit) == (processes, threads, limit)
    assert (found.keeps_clients_alive, found.cooperative, found.title) == (keeps_alive, cooperative, title)


def test_what_is_started() -> None:
    command = spec(workers=3).command(LAUNCH)
    assert command.argv[:2] == ["/env/bin/gunicorn", "shop.wsgi:application"]
    found = options(list(command.argv))
    assert (found["bind"], found["workers"], found["worker-class"]) == ("127.0.0.1:15001", "3", "sync")
    assert found["access-logfile"] == "/logs/access.log"
    assert not {"threads", "worker-connections"} & set(found)
    assert command.cwd == Path("/project")
    assert LAUNCH.env.items() <= command.env.items()
    assert command.env["PATH"].split(":")[0] == "/env/bin"


def test_only_what_was_asked_for_is_handed_on() -> None:
    assert options(list(spec(worker_class="gthread", threads=8).command(LAUNCH).argv))["threads"] == "8"
    gevent = options(list(spec(worker_class="gevent", worker_connections=9).command(LAUNCH).argv))
    assert gevent["worker-connections"] == "9"


def test_a_configuration_of_the_projects_own_is_not_read() -> None:
    config = Path(options(list(spec().command(LAUNCH).argv))["config"])
    assert [type(one) for one in ast.parse(config.read_text()).body] == [ast.Expr], "a docstring alone"


def test_psycogreen_comes_as_a_hook() -> None:
    hooks = Path(options(list(spec(worker_class="gevent", psycogreen=True).command(LAUNCH).argv))["config"])
    assert "patch_psycopg()" in hooks.read_text()


def test_the_restarts_and_patience_that_were_asked_for() -> None:
    plain = options(list(spec().command(LAUNCH).argv))
    assert plain["graceful-timeout"] == "2"
    assert not {"keep-alive", "max-requests", "max-requests-jitter", "preload"} & set(plain)
    chosen = spec(
        worker_class="gthread", keep_alive=7, max_requests=100, max_requests_jitter=10, graceful_timeout=9, preload=True
    )
    found = options(list(chosen.command(LAUNCH).argv))
    assert (found["keep-alive"], found["max-requests"], found["max-requests-jitter"]) == ("7", "100", "10")
    assert (found["graceful-timeout"], found["preload"]) == ("9", "")
    assert (chosen.keep_alive_seconds, chosen.requests_per_worker) == (7, 100)
    assert (spec().keep_alive_seconds, spec().requests_per_worker) == (2, None)


def test_uvicorns_worker_gets_the_asgi_entry_point() -> None:
    command = spec(worker_class="uvicorn").command(LAUNCH)
    assert command.argv[1] == "shop.asgi:application"
    assert options(list(command.argv))["worker-class"] == "uvicorn_worker.UvicornWorker"


@pytest.mark.parametrize(
    ("parameters", "needed"),
    [
        ({}, {"gunicorn"}),
        ({"worker_class": "gevent", "psycogreen": True}, {"gunicorn", "gevent", "psycogreen"}),
        ({"worker_class": "eventlet"}, {"gunicorn", "eventlet"}),
        ({"worker_class": "uvicorn"}, {"gunicorn", "uvicorn-worker"}),
    ],
)
def test_what_its_environment_must_have(parameters: dict[str, Any], needed: set[str]) -> None:
    assert spec(**parameters).packages == needed


def test_what_a_preloaded_app_shares() -> None:
    assert not spec(preload=True).opens_before_fork
    assert spec(preload=True, query_at_import=True).opens_before_fork
    assert spec(worker_class="gevent", preload=True).patched_too_late
    assert not spec(worker_class="eventlet", preload=True).patched_too_late, "patched when gunicorn imports the worker"
    assert spec().serves_in_main_thread
    assert not spec(worker_class="gthread").serves_in_main_thread


def test_it_reloads_on_hup() -> None:
    assert spec().reload_signal is signal.SIGHUP
