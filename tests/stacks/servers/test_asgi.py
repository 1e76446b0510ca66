"""uvicorn, daphne and granian: what is started and what they can hold."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from runner.stacks.servers.base import ServerSpec
from runner.stacks.servers.daphne import DaphneSpec
from runner.stacks.servers.granian import GranianSpec
from runner.stacks.servers.uvicorn import UvicornSpec
from tests.stacks.servers.launching import LAUNCH, launch_in, options


@pytest.mark.parametrize(
    ("spec", "processes", "title"),
    [
        (UvicornSpec(), 1, "uvicorn 1"),
        (UvicornSpec(workers=3), 3, "uvicorn 3"),
        (DaphneSpec(), 1, "daphne"),
        (GranianSpec(interface="asgi", workers=2), 2, "granian asgi 2"),
    ],
)
def test_each_request_has_a_context_of_its_own(spec: ServerSpec, processes: int, title: str) -> None:
    assert (spec.process_count, spec.title) == (processes, title)
    assert (spec.entry_point, spec.context) == ("asgi", "request")
    assert (spec.threads_per_process, spec.client_limit) == (None, None)
    assert spec.keeps_clients_alive


def test_granian_has_threads_for_wsgi() -> None:
    spec = GranianSpec(workers=2, blocking_threads=4)
    assert (spec.entry_point, spec.context, spec.threads_per_process) == ("wsgi", "thread", 4)
    assert spec.title == "granian wsgi 2 × 4"
    assert GranianSpec().threads_per_process == 1


@pytest.mark.parametrize(
    ("kind", "parameters", "words"),
    [
        (GranianSpec, {"interface": "asgi", "blocking_threads": 2}, "blocking_threads needs interface wsgi, not asgi"),
        (GranianSpec, {"interface": "rsgi"}, "'wsgi' or 'asgi'"),
        (UvicornSpec, {"workers": 0}, "greater than or equal to 1"),
        (DaphneSpec, {"workers": 2}, "Extra inputs"),
    ],
)
def test_a_parameter_that_would_do_nothing_is_refused(
    kind: type[ServerSpec], parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        kind.model_validate(parameters)


def test_uvicorn(tmp_path: Path) -> None:
    command = UvicornSpec(workers=2, keep_alive=9, max_requests=100).command(launch_in(tmp_path))
    assert command.argv[:2] == ["/env/bin/uvicorn", "shop.asgi:application"]
    found = options(list(command.argv))
    assert (found["host"], found["port"], found["workers"]) == ("127.0.0.1", "15001", "2")
    assert (found["timeout-keep-alive"], found["limit-max-requests"]) == ("9", "100")
    logging = json.loads(Path(found["log-config"]).read_text())
    assert logging["handlers"]["access"]["filename"] == "/logs/access.log"
    plain = options(list(UvicornSpec().command(launch_in(tmp_path)).argv))
    assert not {"timeout-keep-alive", "limit-max-requests"} & set(plain)


def test_uvicorn_alone_has_no_parent_that_could_replace_it() -> None:
    assert UvicornSpec(workers=2).reload_signal is signal.SIGHUP
    assert UvicornSpec().reload_signal is None
    assert DaphneSpec().reload_signal is None
    assert GranianSpec().reload_signal is signal.SIGHUP


def test_daphne() -> None:
    argv = list(DaphneSpec().command(LAUNCH).argv)
    assert (argv[0], argv[-1]) == ("/env/bin/daphne", "shop.asgi:application")
    found = options(argv)
    assert (found["bind"], found["port"], found["access-log"]) == ("127.0.0.1", "15001", "/logs/access.log")


@pytest.mark.parametrize(("interface", "entry"), [("wsgi", "shop.wsgi:application"), ("asgi", "shop.asgi:application")])
def test_granian(interface: Any, entry: str, tmp_path: Path) -> None:
    argv = list(GranianSpec(interface=interface, workers=2).command(launch_in(tmp_path)).argv)
    assert (argv[0], argv[-1]) == ("/env/bin/granian", entry)
    found = options(argv)
    assert (found["interface"], found["workers"]) == (interface, "2")
    assert found.get("blocking-threads") == ("1" if interface == "wsgi" else None)
    logging = json.loads(Path(found["log-config"]).read_text())
    assert logging["handlers"]["access"]["filename"] == "/logs/access.log"
