"""A server whose delays are known: `python truth.py PLAN`, run as a process of its own.

PLAN is a JSON object: `delays_ms`, taken in turn, one a request; `stall`, `[from, to]` in seconds after the first
request, in which nothing is answered. It prints its port, and serves until its standard input ends.
"""

import json
import socket
import sys
import threading
import time
from typing import Any

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Truth:
    def __init__(self, plan: dict[str, Any]) -> None:
        self._delays = [delay / 1000 for delay in plan["delays_ms"]]
        self._stall = plan.get("stall")
        self._lock = threading.Lock()
        self._served = 0
        self._first = 0.0

    def hold(self) -> None:
        """Waits as planned for this request, and until a stall is over."""
        with self._lock:
            number = self._served
            self._served += 1
            if number == 0:
                self._first = time.monotonic()
        _sleep_until(time.monotonic() + self._delays[number % len(self._delays)])
        if self._stall is not None:
            begin, end = (self._first + moment for moment in self._stall)
            if begin <= time.monotonic() < end:
                _sleep_until(end)

    def serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            pending = b""
            while True:
                while b"\r\n\r\n" not in pending:
                    data = connection.recv(4096)
                    if not data:
                        return
                    pending += data
                pending = pending.partition(b"\r\n\r\n")[2]
                self.hold()
                connection.sendall(ANSWER)


def _sleep_until(moment: float) -> None:
    left = moment - time.monotonic()
    if left > 0:
        time.sleep(left)


def main() -> None:
    truth = Truth(json.loads(sys.argv[1]))
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=truth.serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
