"""What a profile can post: JSON, a form, bytes; with Django's CSRF token where the app has given one."""

from contextlib import closing
from pathlib import Path

import pytest

from runner.load.generator import LoadGenerator
from runner.provision.native import NativeProvider
from runner.provision.service import Address
from tests.load.serving import answering, plain, serving

pytestmark = pytest.mark.server

PROFILE = """
import gevent
from locust import task
from runner.load.user import BenchmarkUser

class Visitor(BenchmarkUser):
    def on_start(self):
        self.client.post("/before/", form={"user": "anna", "note": "a & ü"})
        self.client.get("/login/")
        self.client.post("/login/", form={"user": "anna"})
        self.client.post("/orders/", json={"a": 1})
        self.client.post("/orders/", data=b"raw", headers={"X-CSRFToken": "own"})

    @task
    def rest(self): gevent.sleep(0.1)
"""


def head_and_body(request: bytes) -> tuple[list[str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    return head.decode().split("\r\n"), body


def test_posts_carry_their_body_and_the_csrf_token_once_the_app_has_given_it(tmp_path: Path) -> None:
    profile = tmp_path / "profile.py"
    profile.write_text(PROFILE)
    given = plain(b"ok", "200 OK", "Set-Cookie: csrftoken=abc123; Path=/; SameSite=Lax")
    with serving(answering(plain(), given, plain())) as server, closing(NativeProvider()) as provider:
        host, _, port = server.url.removeprefix("http://").partition(":")
        load = LoadGenerator(provider, "cell", tmp_path / "requests.raw", tmp_path / "load.log")
        load.configure(profile, Address(host, int(port)), keep_alive=True, model="closed")
        driven = load.window(0, users=1, lead_in=0.0, seconds=0.5, seed="s")
        load.close()
        before, login, form, order, raw = (head_and_body(request) for request in server.requests)
    assert (driven.requests, driven.errors) == (5, 0)
    assert before[0][0] == "POST /before/ HTTP/1.1"
    assert "Content-Type: application/x-www-form-urlencoded" in before[0]
    assert before[1] == b"user=anna&note=a+%26+%C3%BC"
    assert f"Content-Length: {len(before[1])}" in before[0]
    for head, _ in (before, login):
        assert not any("csrf" in line.lower() for line in head)
    for head, _ in (form, order):
        assert "Cookie: csrftoken=abc123" in head
        assert "X-CSRFToken: abc123" in head
    assert order[1] == b'{"a":1}'
    assert [line for line in raw[0] if line.startswith("X-CSRFToken")] == ["X-CSRFToken: own"]
    assert raw[1] == b"raw"
