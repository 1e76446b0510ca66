"""uWSGI: what is started and what it can hold."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from runner.stacks.servers import uwsgi
from runner.stacks.servers.uwsgi import UwsgiSpec
from tests.stacks.servers.launching import LAUNCH, options


def test_what_it_can_hold() -> None:
    spec = UwsgiSpec(processes=2, threads=8)
    assert (spec.process_count, spec.threads_per_process, spec.client_limit) == (2, 8, None)
    assert (spec.keeps_clients_alive, spec.cooperative, spec.title) == (False, False, "uWSGI 2 × 8")


@pytest.mark.parametrize("parameters", [{"processes": 0}, {"threads": 257}, {"workers": 4}])
def test_bad_parameters_are_refused(parameters: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        UwsgiSpec.model_validate(parameters)


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
