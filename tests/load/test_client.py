"""The benchmark client against real sockets: every way in which an answer can end, well or badly."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import gevent
import pytest

from runner.load import client as module
from runner.load.client import Client
from tests.load.serving import answering, plain, serving

MakeClient = Callable[..., Client]


@pytest.fixture
def connect() -> Iterator[MakeClient]:
    """Makes clients, and closes them."""
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(closing(Client(*arguments, **options)))


def test_an_answer_with_a_length(connect: MakeClient) -> None:
    with serving(answering(plain(b"hello", "201 Created", "X-Thing: a", "Server-Timing: app;dur=1.5"))) as server:
        answer = connect(server.url).request("GET", "/x/?a=1")
    assert (answer.status, answer.text, answer.error) == (201, "hello", None)
    assert answer.headers["x-thing"] == "a"
    assert answer.timing == "app;dur=1.5"
    assert answer.milliseconds > 0
    host = server.url.removeprefix("http://")
    assert server.requests == [f"GET /x/?a=1 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()]


def test_a_connection_is_kept(connect: MakeClient) -> None:
    with serving(answering(plain(b"1"), plain(b"22"), plain(b"333"))) as server:
        client = connect(server.url)
        assert [client.request("GET", "/").text for _ in range(3)] == ["1", "22", "333"]
    assert server.connections == 1


def test_without_keep_alive_each_request_has_its_own(connect: MakeClient) -> None:
    with serving(answering(plain())) as server:
        client = connect(server.url, keep_alive=False)
        assert [client.request("GET", "/").status for _ in range(3)] == [200] * 3
    assert server.connections == 3
    assert all(b"\r\nConnection: close\r\n" in request for request in server.requests)


@pytest.mark.parametrize("header", ["Connection: close", "connection: CLOSE"])
def test_a_server_that_wants_to_close_is_heeded(connect: MakeClient, header: str) -> None:
    with serving(answering(plain(b"a", "200 OK", header))) as server:
        client = connect(server.url)
        assert [client.request("GET", "/").text for _ in range(2)] == ["a", "a"]
    assert server.connections == 2


def test_chunks(connect: MakeClient) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(answering(head + b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n", plain(b"next"))) as server:
        client = connect(server.url)
        assert client.request("GET", "/").text == "abcdefg"
        assert client.request("GET", "/").text == "next"
    assert server.connections == 1


def test_an_answer_in_small_pieces(connect: MakeClient) -> None:
    def conduct(_: bytes, connection: socket.socket) -> bool:
        for byte in plain(b"slow"):
            connection.sendall(bytes([byte]))
        return True

    with serving(conduct) as server:
        assert connect(server.url).request("GET", "/").text == "slow"


def test_an_answer_without_a_length_ends_with_the_connection(connect: MakeClient) -> None:
    def conduct(_: bytes, connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        return False

    with serving(conduct) as server:
        client = connect(server.url)
        assert [client.request("GET", "/").text for _ in range(2)] == ["all of it"] * 2


@pytest.mark.parametrize(
    "sent",
    [b"", b"HTTP/1.1 200 O", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"],
    ids=["nothing", "half a head", "half a body"],
)
def test_an_answer_that_is_cut_off_is_a_failure(connect: MakeClient, sent: bytes) -> None:
    def conduct(_: bytes, connection: socket.socket) -> bool:
        connection.sendall(sent)
        return False

    with serving(conduct) as server:
        client = connect(server.url)
        answer = client.request("GET", "/")
        assert answer.status == 0
        assert isinstance(answer.error, module.ConnectionClosed)
        assert client.request("GET", "/").status == 0, "and the next request has a connection of its own"
    assert server.connections == 2


def test_what_is_no_http_is_a_failure(connect: MakeClient) -> None:
    with serving(answering(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")) as server:
        answer = connect(server.url).request("GET", "/")
    assert answer.status == 0
    assert "Http" in type(answer.error).__name__


def test_nobody_listens(connect: MakeClient) -> None:
    with serving(answering(plain())) as server:
        pass
    answer = connect(server.url).request("GET", "/")
    assert answer.status == 0
    assert isinstance(answer.error, ConnectionRefusedError)


def test_a_kept_connection_that_the_server_has_closed_meanwhile(
    connect: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gunicorn's gevent worker closes idle clients after two seconds: that is no failed request."""
    monkeypatch.setattr(module, "STALE_AFTER", 0.05)

    def once(_: bytes, connection: socket.socket) -> bool:
        connection.sendall(plain())
        return False

    with serving(once) as server:
        client = connect(server.url)
        assert client.request("GET", "/").status == 200
        time.sleep(0.1)
        assert client.request("GET", "/").status == 200
    assert server.connections == 2


def test_an_interim_answer_is_passed_over(connect: MakeClient) -> None:
    with serving(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + plain(b"the real one"))) as server:
        answer = connect(server.url).request("POST", "/", body=b"x")
    assert (answer.status, answer.text) == (200, "the real one")


def test_a_redirect_is_not_followed(connect: MakeClient) -> None:
    with serving(answering(plain(b"", "302 Found", "Location: /elsewhere/"))) as server:
        assert connect(server.url).request("GET", "/").status == 302
    assert len(server.requests) == 1


def test_bodies_and_headers_are_sent(connect: MakeClient) -> None:
    with serving(answering(plain())) as server:
        connect(server.url).request("POST", "/", body=b'{"a":1}', headers={"Content-Type": "application/json"})
    assert b"\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n" in server.requests[0]
    assert server.requests[0].endswith(b'\r\n\r\n{"a":1}')


def test_an_empty_post_has_a_length(connect: MakeClient) -> None:
    with serving(answering(plain())) as server:
        connect(server.url).request("POST", "/")
    assert b"\r\nContent-Length: 0\r\n" in server.requests[0]


def test_cookies_are_kept_and_sent(connect: MakeClient) -> None:
    first = plain(b"", "200 OK", "Set-Cookie: csrftoken=abc; Path=/; HttpOnly", "Set-Cookie: session=1")
    with serving(answering(first, plain())) as server:
        client = connect(server.url)
        client.request("GET", "/")
        assert client.cookies == {"csrftoken": "abc", "session": "1"}
        client.request("GET", "/")
    assert b"Cookie" not in server.requests[0]
    assert b"\r\nCookie: csrftoken=abc; session=1\r\n" in server.requests[1]


def test_a_request_that_is_never_answered_expires(connect: MakeClient) -> None:
    def silent(_: bytes, connection: socket.socket) -> bool:
        connection.recv(1)
        return False

    with serving(silent) as server:
        client = connect(server.url)
        asking = gevent.spawn(client.request, "GET", "/")
        gevent.sleep(0.05)
        client.expire(time.monotonic())
        assert not asking.ready(), "not yet"
        client.expire(time.monotonic() + module.TIMEOUT)
        answer = asking.get(timeout=30)
    assert answer.status == 0
    assert isinstance(answer.error, TimeoutError)


def test_https_is_refused() -> None:
    with pytest.raises(ValueError, match="no http:// address"):
        Client("https://127.0.0.1/")
