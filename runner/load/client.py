"""An HTTP/1.1 client for one simulated user that costs as little as Python allows.

It writes ready-made requests to a gevent socket and reads the answers with llhttp's C parser (httptools). One
connection, one request at a time; redirects are not followed; cookies are kept. Everything else is left out on
purpose: what the generator spends is taken from what it measures.
"""

import json
from collections.abc import Mapping
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from gevent import get_hub, socket
from httptools import HttpParserError, HttpResponseParser

# Longer than any answer that is worth waiting for; a timed-out request is recorded as one.
TIMEOUT = 60.0
# A kept connection that stood idle for longer may have been closed by the server meanwhile: look before writing.
STALE_AFTER = 0.5
CHUNK = 65_536
# libev's name for "there is something to read" (http://pod.tst.eu/http://cvs.schmorp.de/libev/ev.pod).
READABLE = 1


class ConnectionClosed(ConnectionError):
    """The server closed the connection before the answer was whole."""


class CutOff(ConnectionError):
    """The load stopped, and the answer had not come within the time that it was given."""


class Answer:
    """What came back. `status` is 0, and `error` says why, where nothing or only a part of an answer came."""

    __slots__ = ("_headers", "body", "error", "milliseconds", "status", "timing")

    def __init__(
        self,
        status: int,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        timing: str,
        milliseconds: float,
        error: Exception | None,
    ) -> None:
        self.status = status
        self.body = body
        #: The Server-Timing header, or nothing.
        self.timing = timing
        self.milliseconds = milliseconds
        self.error = error
        self._headers = headers

    @property
    def headers(self) -> Mapping[str, str]:
        """Header names in lower case; of a name that came more than once, the last."""
        return {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in self._headers}

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One user's connection to one server."""

    def __init__(self, base_url: str, *, keep_alive: bool = True) -> None:
        """`base_url` is `http://host:port`."""
        url = urlsplit(base_url)
        if url.scheme != "http" or url.hostname is None:
            raise ValueError(f"{base_url!r} is no http:// address")
        # Looked up once: a look-up for each connection would go through a thread.
        found = socket.getaddrinfo(url.hostname, url.port or 80, type=socket.SOCK_STREAM)[0]
        self._family, self._address = found[0], found[4]
        self._keep_alive = keep_alive
        host = f"Host: {url.netloc}\r\n"
        self._common = host if keep_alive else f"{host}Connection: close\r\n"
        self._hub = get_hub()
        self._socket: socket.socket | None = None
        self._readable: Any = None
        self._used_at = 0.0
        self._asked_at: float | None = None
        self._timed_out = False
        self.cookies: dict[str, str] = {}
        self._parser: HttpResponseParser | None = None
        self._start_answer()

    def request(self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Sends one request and reads the whole answer; never raises for what the network does. No HEAD."""
        if method == "HEAD":
            raise ValueError("HEAD is not supported: its answer announces a body that does not come")
        request = self._request_bytes(method, path, body, headers)
        self._start_answer()
        self._asked_at = started = monotonic()
        failure: Exception | None = None
        try:
            self._exchange(request, started)
        except (OSError, HttpParserError) as error:
            self.close()
            self._status = 0
            failure = TimeoutError(f"no answer within {TIMEOUT:.0f} s") if self._timed_out else error
        self._asked_at = None
        self._used_at = monotonic()
        milliseconds = (self._used_at - started) * 1000
        body = b"".join(self._body)
        return Answer(self._status, self._headers, body, self._timing, milliseconds, failure)

    def expire(self, now: float) -> None:
        """Ends a request that has waited too long. A time-out on the socket would cost more than the request."""
        if self._asked_at is not None and now - self._asked_at > TIMEOUT:
            self._timed_out = True
            self.close()

    def cut_off(self) -> Answer:
        """What there is to say of a request whose user was killed in the middle of it: the server may have seen it."""
        self.close()
        now = monotonic()
        asked_at, self._asked_at = self._asked_at or now, None
        return Answer(0, [], b"", "", (now - asked_at) * 1000, CutOff("cut off when the load stopped"))

    def close(self) -> None:
        if self._socket is not None:
            # Whoever still waits for an answer is told before the descriptor can become another socket's.
            given_up = ConnectionClosed("closed while waiting for an answer")
            self._hub.cancel_waits_close_and_then([self._readable], given_up, self._socket.close)
            self._socket = self._readable = None

    def _request_bytes(self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None) -> bytes:
        lines = f"{method} {path} HTTP/1.1\r\n{self._common}"
        if self.cookies:
            lines += "Cookie: " + "; ".join(f"{name}={value}" for name, value in self.cookies.items()) + "\r\n"
        if headers:
            lines += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if body or method in ("POST", "PUT", "PATCH"):
            lines += f"Content-Length: {len(body)}\r\n"
        return f"{lines}\r\n".encode("latin-1") + body

    def _exchange(self, request: bytes, now: float) -> None:
        connection = self._connection(now)
        connection.sendall(request)
        parser = self._parser
        assert parser is not None
        while not self._complete:
            # To try before there is an answer would cost an exception, a tenth of the whole request.
            self._hub.wait(self._readable)
            data = connection.recv(CHUNK)
            if not data:
                self._end_of_stream()
                break
            parser.feed_data(data)
        if not self._stays_open:
            self.close()

    def _connection(self, now: float) -> socket.socket:
        if self._socket is not None and now - self._used_at > STALE_AFTER and self._closed_by_server():
            self.close()
        if self._socket is None:
            self._socket = socket.socket(self._family, socket.SOCK_STREAM)
            self._socket.connect(self._address)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._readable = self._hub.loop.io(self._socket.fileno(), READABLE)
            self._parser = HttpResponseParser(self)
        return self._socket

    def _closed_by_server(self) -> bool:
        """Whether there is something to read where nothing was asked: the end of the stream."""
        assert self._socket is not None
        self._socket.setblocking(False)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self._socket.setblocking(True)
        return True

    def _end_of_stream(self) -> None:
        """An answer without a length ends with the connection; any other is cut off."""
        names = {name.lower() for name, _ in self._headers}
        bounded = names & {b"content-length", b"transfer-encoding"}
        if not self._headers_complete or bounded:
            raise ConnectionClosed("the server closed the connection before the answer was whole")
        self.close()

    def _start_answer(self) -> None:
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._timing = ""
        self._headers_complete = False
        self._complete = False
        self._stays_open = False
        self._timed_out = False

    # Called by the parser, which looks for these names.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))
        lowered = name.lower()
        if lowered == b"server-timing":
            self._timing = value.decode("latin-1")
        elif lowered == b"set-cookie":
            pair = value.split(b";", 1)[0].decode("latin-1")
            cookie, _, content = pair.partition("=")
            self.cookies[cookie.strip()] = content.strip()

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self._status = self._parser.get_status_code()
        self._headers_complete = True

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        # An interim answer (1xx) is followed by the real one.
        if self._status >= 200:
            assert self._parser is not None
            self._complete = True
            # The parser forgets it with the next answer's first byte.
            self._stays_open = self._keep_alive and self._parser.should_keep_alive()
        else:
            self._start_answer()
