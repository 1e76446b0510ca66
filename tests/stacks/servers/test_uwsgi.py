"""uWSGI: what is started and what it can hold."""

import signal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from runner.stacks.servers import uwsgi
from runner.stacks.servers.uwsgi import UwsgiSpec
from tests.stacks.servers.launching import LAUNCH, options


def test_what_it_can_hold() -> None:
    spec = UwsgiSpec(processes=2, threads=8)
    assert (spec.process_count, spec.threads_per_process, spec.client_limit) == (2, 8, None)
    assert (spec.keeps_clients_alive, spec.cooperative, spec.title) == (False, False, "uWSGI 2 × 8")


def test_what_its_gevent_loop_can_hold() -> None:
    spec = UwsgiSpec(processes=2, gevent=50)
    assert (spec.process_count, spec.threads_per_process, spec.client_limit) == (2, None, 50)
    assert (spec.keeps_clients_alive, spec.cooperative, spec.title) == (False, True, "uWSGI 2 gevent 50")
    assert spec.packages == {"uwsgi", "gevent"}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"processes": 0}, "greater than or equal to 1"),
        ({"threads": 257}, "less than or equal to 256"),
        ({"workers": 4}, "Extra inputs"),
        ({"threads": 4, "gevent": 50}, "threads and gevent exclude each other"),
        ({"early_monkey_patch": False}, "early_monkey_patch: false needs gevent"),
        ({"query_at_import": True}, "query_at_import needs lazy_apps: false"),
    ],
)
def test_bad_parameters_are_refused(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        UwsgiSpec.model_validate(parameters)


def started(**parameters: Any) -> dict[str, str]:
    return options(list(UwsgiSpec.model_validate(parameters).command(LAUNCH).argv))


def test_the_gevent_loop_is_patched_early_unless_told() -> None:
    early = started(gevent=50)
    assert early["gevent"] == "50"
    assert "gevent-early-monkey-patch" in early
    assert not {"threads", "gevent-monkey-patch"} & set(early)
    late = started(gevent=50, early_monkey_patch=False)
    assert "gevent-monkey-patch" in late
    assert "gevent-early-monkey-patch" not in late
    assert UwsgiSpec(gevent=50, early_monkey_patch=False).patched_too_late
    assert not UwsgiSpec(gevent=50).patched_too_late


def test_the_app_is_loaded_by_each_worker_unless_told() -> None:
    assert "lazy-apps" not in started(lazy_apps=False)
    assert "enable-threads" not in started(enable_threads=False)
    assert UwsgiSpec(lazy_apps=False, query_at_import=True).opens_before_fork
    assert not UwsgiSpec(lazy_apps=False).opens_before_fork


def test_what_ends_workers() -> None:
    assert not {"harakiri", "max-requests"} & set(started())
    found = started(harakiri=30, max_requests=500)
    assert (found["harakiri"], found["max-requests"], found["min-worker-lifetime"]) == ("30", "500", "0")
    assert (UwsgiSpec(harakiri=30).kills_slow_requests, UwsgiSpec().kills_slow_requests) == (True, False)
    assert UwsgiSpec(max_requests=500).requests_per_worker == 500
    assert UwsgiSpec().reload_signal is signal.SIGHUP


def test_what_is_started() -> None:
    command = UwsgiSpec(processes=2, threads=8).command(LAUNCH)
    found = options(list(command.argv))
    assert command.argv[0] == "/env/bin/uwsgi"
    assert (found["http-socket"], found["module"]) == ("127.0.0.1:15001", "shop.wsgi:application")
    assert (found["processes"], found["threads"], found["home"]) == ("2", "8", "/env")
    assert found["req-logger"] == "file:/logs/access.log"
    # Each of these was learnt the hard way: see the comments beside them.
    assert {"lazy-apps", "enable-threads", "need-app", "die-on-term", "master"} <= set(found)
    assert command.cwd == Path("/project")
    assert LAUNCH.env.items() <= command.env.items()


def test_the_backlog_is_what_the_kernel_allows() -> None:
    """uWSGI refuses to start with more."""
    allowed = int(Path("/proc/sys/net/core/somaxconn").read_text())
    assert uwsgi._backlog(most=10**9) == allowed
    assert uwsgi._backlog(most=1) == 1
    assert options(list(UwsgiSpec().command(LAUNCH).argv))["listen"] == str(min(1024, allowed))
