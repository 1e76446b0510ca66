"""What a profile can post: JSON, a form, bytes; with Django's CSRF token where the app has given one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment

from runner.load.recorder import Recorder
from runner.load.user import Batches, BenchmarkUser, RecordedClient
from tests.load.serving import ByteServer, answering, plain, serving


@contextmanager
def visiting(*answers: bytes) -> Iterator[tuple[RecordedClient, ByteServer]]:
    with serving(answering(*answers)) as server:
        environment = Environment(host=server.url)

        class Visitor(BenchmarkUser):
            host = server.url

        user = Visitor(environment)
        yield user.client, server
        user.on_stop()


def head_and_body(request: bytes) -> tuple[list[str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    return head.decode().split("\r\n"), body


def test_a_form_is_encoded_as_browsers_do() -> None:
    with visiting(plain()) as (client, server):
        assert client.post("/login/", form={"user": "anna", "note": "a & ü"}).status == 200
    head, body = head_and_body(server.requests[0])
    assert head[0] == "POST /login/ HTTP/1.1"
    assert "Content-Type: application/x-www-form-urlencoded" in head
    assert body == b"user=anna&note=a+%26+%C3%BC"
    assert f"Content-Length: {len(body)}" in head
    assert not any(line.startswith("X-CSRFToken") for line in head)


def test_the_csrf_token_goes_with_every_post_once_the_app_has_given_it() -> None:
    given = plain(b"ok", "200 OK", "Set-Cookie: csrftoken=abc123; Path=/; SameSite=Lax")
    with visiting(given, plain()) as (client, server):
        client.get("/login/")
        client.post("/login/", form={"user": "anna"})
        client.post("/orders/", json={"a": 1})
        client.post("/orders/", data=b"raw", headers={"X-CSRFToken": "own"})
    first, form, order, raw = (head_and_body(request)[0] for request in server.requests)
    assert not any("csrf" in line.lower() for line in first)
    for head in (form, order):
        assert "Cookie: csrftoken=abc123" in head
        assert "X-CSRFToken: abc123" in head
    assert [line for line in raw if line.startswith("X-CSRFToken")] == ["X-CSRFToken: own"]


def test_a_request_that_is_cut_off_is_on_record_as_unanswered(tmp_path: Path) -> None:
    """Nobody knows whether the server has seen it: it may count on either side."""

    def silent(_: bytes, __: Any) -> bool:
        return True

    with serving(silent) as server:
        environment = Environment(host=server.url)
        batches = Batches.of(environment)
        batches.recorder = Recorder(tmp_path / "requests.raw")

        class Visitor(BenchmarkUser):
            host = server.url

        user = Visitor(environment)
        asking = gevent.spawn(user.client.get, "/slow/")
        with gevent.Timeout(30):
            while not server.requests:
                gevent.sleep(0.01)
        asking.kill()
    assert (batches.recorder.recorded, batches.recorder.failed) == (1, 1)
