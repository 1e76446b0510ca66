"""gunicorn: which parameters make sense, what is started, what it can hold."""

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
        ({"worker_class": "gthread", "worker_connections": 9}, "worker_connections needs worker_class gevent"),
        ({"worker_class": "gthread", "psycogreen": True}, "psycogreen needs worker_class gevent"),
        ({"workers": 0}, "greater than or equal to 1"),
        ({"worker_class": "tornado"}, "'sync', 'gthread' or 'gevent'"),
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
    assert not {"threads", "worker-connections", "config"} & set(found)
    assert command.cwd == Path("/project")
    assert LAUNCH.env.items() <= command.env.items()
    assert command.env["PATH"].split(":")[0] == "/env/bin"


def test_only_what_was_asked_for_is_handed_on() -> None:
    assert options(list(spec(worker_class="gthread", threads=8).command(LAUNCH).argv))["threads"] == "8"
    gevent = options(list(spec(worker_class="gevent", worker_connections=9).command(LAUNCH).argv))
    assert gevent["worker-connections"] == "9"
    assert "config" not in gevent


def test_psycogreen_comes_as_a_hook() -> None:
    hooks = Path(options(list(spec(worker_class="gevent", psycogreen=True).command(LAUNCH).argv))["config"])
    assert "patch_psycopg()" in hooks.read_text()
