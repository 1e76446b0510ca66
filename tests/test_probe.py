"""The harness's own requests, against small servers that answer as they are told."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runner import probe, waiting
from runner.errors import StackError
from runner.matrix.prediction import CHECKING_CLIENTS
from runner.provision.service import Address, Usage
from runner.stacks.app import App, AppDescription
from runner.stacks.servers.base import PROBE_QUERY

TOKEN = "the token of this start"
Answer = tuple[int, str, dict[str, str]]


class SmallServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, scene: Any) -> None:
        """`scene.answer` says what a request is answered with."""
        self.scene = scene
        self.seen: list[Request] = []
        self.connections = 0
        super().__init__(("127.0.0.1", 0), Handler)

    def get_request(self) -> Any:
        self.connections += 1
        return super().get_request()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has given up is no error."""


class Request:
    def __init__(self, method: str, path: str, body: bytes) -> None:
        self.method = method
        self.path, _, self.query = path.partition("?")
        self.body = json.loads(body) if body else None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SmallServer

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(self.command, self.path, body)
        self.server.seen.append(request)
        status, text, headers = self.server.scene.answer(request)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = _answer  # noqa: N815  as the base class looks for them

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name in the base class
        pass


class FakeService:
    """What the probes need of a service."""

    name = "app of pg-sync"

    def __init__(self, address: Address, log_path: Path) -> None:
        self.address, self.log_path = address, log_path
        self.ended = False
        log_path.write_text("[INFO] Starting\n[ERROR] no such table\n")

    def alive(self) -> bool:
        return not self.ended

    def bring_log(self) -> None:
        pass

    def log_tail(self, lines: int = 20) -> str:
        return self.log_path.read_text()

    exit_code = None

    def ending(self) -> str:
        raise NotImplementedError

    def starved(self) -> bool:
        return False

    def wait(self, limit: float) -> bool:
        raise NotImplementedError

    def signal(self, number: signal.Signals) -> None:
        raise NotImplementedError

    def cpu_seconds(self) -> float:
        raise NotImplementedError

    def usage(self) -> Usage:
        raise NotImplementedError

    def suspend(self) -> None:
        raise NotImplementedError

    def resume(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError


def make_app(*checks: dict[str, Any]) -> App:
    description = {"settings": "s", "wsgi": "w", "setup": [], "ready": "/health/", "checks": checks}
    return App("shop", Path("/nowhere"), AppDescription.model_validate(description), Path("/nowhere/app.yaml"))


class Scene:
    """One server and the service that stands for it."""

    def __init__(self, log: Path) -> None:
        self.answer: Callable[[Request], Answer] = lambda _: (200, "ok", {"X-Connbench-Token": TOKEN})
        self.server = SmallServer(self)
        self.service = FakeService(Address("127.0.0.1", self.server.server_address[1]), log)
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path / "app.log")
    yield made
    made.close()


@pytest.fixture
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "APP_START", 0.3)
    monkeypatch.setattr(waiting, "HTTP_PROBE", 0.2)


def test_ready_once_it_answers_with_the_token(scene: Scene) -> None:
    probe.wait_until_ready(scene.service, make_app(), TOKEN)
    (request,) = scene.server.seen
    assert (request.method, request.path) == ("GET", "/health/")
    assert PROBE_QUERY in request.query, "the log tells it from the load"


def test_it_waits_for_an_answer_of_200(scene: Scene) -> None:
    statuses = iter([503, 500, 200])
    scene.answer = lambda _: (next(statuses), "", {"X-Connbench-Token": TOKEN})
    probe.wait_until_ready(scene.service, make_app(), TOKEN)
    assert len(scene.server.seen) == 3


@pytest.mark.parametrize("headers", [{}, {"X-Connbench-Token": "the token of another start"}])
def test_a_foreign_server_on_the_port_is_refused(scene: Scene, headers: dict[str, str]) -> None:
    scene.answer = lambda _: (200, "ok", headers)
    with pytest.raises(StackError, match=r"127\.0\.0\.1:\d+ is answered by something that this run did not start"):
        probe.wait_until_ready(scene.service, make_app(), TOKEN)


def test_a_server_that_ends_while_starting_is_told_at_once_with_its_log(scene: Scene) -> None:
    scene.service.ended = True
    begun = time.monotonic()
    with pytest.raises(StackError, match=r"(?s)app of pg-sync ended while starting; its log ends:.*no such table"):
        probe.wait_until_ready(scene.service, make_app(), TOKEN)
    assert time.monotonic() - begun < 30, "the limit of a start is longer"
    assert scene.server.seen == []


@pytest.mark.usefixtures("_short_patience")
def test_a_time_out_carries_the_logs_tail(scene: Scene) -> None:
    scene.answer = lambda _: (500, "", {"X-Connbench-Token": TOKEN})
    with pytest.raises(
        StackError, match=r"(?s)app of pg-sync was not ready within .* s .*; its log ends:.*no such table"
    ):
        probe.wait_until_ready(scene.service, make_app(), TOKEN)


@pytest.mark.usefixtures("_short_patience")
def test_a_server_that_accepts_and_is_silent_is_not_ready(scene: Scene) -> None:
    scene.answer = lambda _: (time.sleep(0.5), (200, "", {"X-Connbench-Token": TOKEN}))[1]  # type: ignore[func-returns-value]
    with pytest.raises(StackError, match="not ready"):
        probe.wait_until_ready(scene.service, make_app(), TOKEN)


def test_proxy_settings_are_not_heeded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    probe.wait_until_ready(scene.service, make_app(), TOKEN)
    probe.run_checks(scene.service, make_app({"path": "/products/"}))
    assert len(scene.server.seen) == 2


def test_every_check_is_sent_in_order_by_one_client(scene: Scene) -> None:
    order = {"customer": 1}
    app = make_app(
        {"path": "/products/?page=2", "contains": "k"},
        {"path": "/orders/", "method": "POST", "json": order},
        {"path": "/health/"},
    )
    probe.run_checks(scene.service, app)
    seen = [(request.method, request.path, request.query, request.body) for request in scene.server.seen]
    assert seen == [
        ("GET", "/products/", f"page=2&{PROBE_QUERY}", None),
        ("POST", "/orders/", PROBE_QUERY, order),
        ("GET", "/health/", PROBE_QUERY, None),
    ]
    assert scene.server.connections == 1 <= CHECKING_CLIENTS


def test_an_error_is_told_with_its_body_and_the_log(scene: Scene) -> None:
    scene.answer = lambda _: (500, "Server Error: PoolTimeout" + "x" * 500, {})
    with pytest.raises(StackError) as caught:
        probe.run_checks(scene.service, make_app({"path": "/products/"}))
    message = str(caught.value)
    assert message.startswith("GET /products/: status 500, expected 200; it says: 'Server Error: PoolTimeout")
    assert "no such table" in message
    assert len(message) < 400


def test_a_redirect_is_an_answer_of_its_own(scene: Scene) -> None:
    scene.answer = lambda _: (302, "", {"Location": "/elsewhere/"})
    with pytest.raises(StackError, match="status 302"):
        probe.run_checks(scene.service, make_app({"path": "/products/"}))
    assert len(scene.server.seen) == 1


def test_an_expected_refusal_is_right_and_success_is_wrong(scene: Scene) -> None:
    refusal = make_app({"path": "/products/10001/", "status": 404, "contains": "Not found"})
    scene.answer = lambda _: (404, "Not found", {})
    probe.run_checks(scene.service, refusal)
    scene.answer = lambda _: (200, "Not found", {})
    with pytest.raises(StackError, match="status 200, expected 404"):
        probe.run_checks(scene.service, refusal)


def test_a_wrong_answer_is_told_with_its_beginning(scene: Scene) -> None:
    scene.answer = lambda _: (200, "an empty shop", {})
    with pytest.raises(StackError, match=r"GET /products/: 'Cork Carafe' is not in the answer.*'an empty shop'"):
        probe.run_checks(scene.service, make_app({"path": "/products/", "contains": "Cork Carafe"}))


def test_no_answer_is_told_with_the_log(tmp_path: Path) -> None:
    service = FakeService(Address("127.0.0.1", 9), tmp_path / "app.log")
    with pytest.raises(StackError, match=r"(?s)GET /products/: no answer .*no such table"):
        probe.run_checks(service, make_app({"path": "/products/"}))
