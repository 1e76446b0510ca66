"""A small server that answers what a test tells it to, byte by byte, and keeps note of what it was asked."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Gets the request's bytes (head and body) and the connection; returns whether to go on with this connection.
Conduct = Callable[[bytes, socket.socket], bool]


class ByteServer:
    """One thread a connection; requests are read to the end of their Content-Length."""

    def __init__(self, conduct: Conduct, host: str) -> None:
        self._conduct = conduct
        self._listener = socket.create_server((host, 0), backlog=128)
        self.url = f"http://{host}:{self._listener.getsockname()[1]}"
        self.requests: list[bytes] = []
        self.connections = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        # A blocked accept returns when the socket is shut down.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            pending = b""
            while True:
                request, pending = _next_request(connection, pending)
                if request is None:
                    return
                self.requests.append(request)
                if not self._conduct(request, connection):
                    return


def _next_request(connection: socket.socket, pending: bytes) -> tuple[bytes | None, bytes]:
    """One request, and what has been read beyond it; None where the client has left."""
    while b"\r\n\r\n" not in pending:
        try:
            data = connection.recv(65_536)
        except OSError:
            return None, b""
        if not data:
            return None, b""
        pending += data
    head, _, rest = pending.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(rest) < length:
        rest += connection.recv(65_536)
    return head + b"\r\n\r\n" + rest[:length], rest[length:]


@contextmanager
def serving(conduct: Conduct, host: str = "127.0.0.1") -> Iterator[ByteServer]:
    server = ByteServer(conduct, host)
    try:
        yield server
    finally:
        server.close()


def answering(*answers: bytes) -> Conduct:
    """Sends these, one a request, the last one again and again; keeps the connection open."""
    left = list(answers)

    def conduct(_: bytes, connection: socket.socket) -> bool:
        connection.sendall(left.pop(0) if len(left) > 1 else left[0])
        return True

    return conduct


def plain(body: bytes = b"ok", status: str = "200 OK", *headers: str) -> bytes:
    """An answer with a Content-Length."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body
