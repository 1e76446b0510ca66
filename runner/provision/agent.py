"""The harness's eyes where a run's containers live: in their network, and on the volume that they share.

It runs in a container of its own, on the standard library, and answers JSON lines on a TCP port to whoever knows its
token: what services have written, which connections they hold, and what passes between them.
"""

import base64
import contextlib
import itertools
import json
import os
import socket
import socketserver
import sys
import time
from pathlib import Path
from typing import Any

from runner.errors import StackError
from runner.provision import wire
from runner.provision.seen import as_plain

PORT = 14999
TOKEN = "CONNBENCH_AGENT_TOKEN"
#: In its environment: `address:port`, at all addresses where it is `:port`.
LISTEN = "CONNBENCH_AGENT_LISTEN"
READY = "ready"
#: Bytes of a file in one answer.
MOST = 4 << 20
#: Connections of which the quickest counts, and seconds for each.
ROUND_TRIPS, ROUND_TRIP_LIMIT = 20, 5.0


class Agent:
    """What it is asked: one method a question, plain data both ways."""

    def __init__(self) -> None:
        self._watches: dict[int, wire.ThreadWatch] = {}
        self._numbers = itertools.count(1)

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """`failed` where it cannot be answered."""
        known: dict[str, Any] = {
            "read": self.read,
            "room": self.room,
            "established": self.established,
            "watch": self.watch,
            "network": self.network,
            "round_trip": self.round_trip,
            "close": self.close,
        }
        try:
            reply: dict[str, Any] = known[question.pop("ask")](**question)
        except (OSError, StackError) as error:
            return {"failed": str(error)}
        return reply

    def read(self, path: str, offset: int) -> dict[str, Any]:
        """What a file has from `offset` on, at most `MOST` bytes of it; nothing where there is no such file."""
        data = b""
        with contextlib.suppress(FileNotFoundError), Path(path).open("rb") as file:
            file.seek(offset)
            data = file.read(MOST)
        return {"data": base64.b64encode(data).decode()}

    def room(self, path: str) -> dict[str, Any]:
        """How many bytes more fit where a folder is."""
        found = os.statvfs(path)
        return {"bytes": found.f_bavail * found.f_frsize}

    def established(self, port: int) -> dict[str, Any]:
        return {"ports": sorted(wire.established(port))}

    def network(self) -> dict[str, Any]:
        """What two agents have in common that see the same packets: the kernel, and the network in it."""
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return {"network": [kernel, Path("/proc/self/ns/net").stat().st_ino]}

    def round_trip(self, host: str, port: int) -> dict[str, Any]:
        """What a packet to another agent and its answer take: a connection is open when its first is answered."""
        quickest = ROUND_TRIP_LIMIT
        for _ in range(ROUND_TRIPS):
            begun = time.perf_counter()
            with socket.create_connection((host, port), timeout=ROUND_TRIP_LIMIT):
                quickest = min(quickest, time.perf_counter() - begun)
        return {"seconds": quickest}

    def watch(self, port: int) -> dict[str, Any]:
        """Whichever way its clients take: from an address of the host to another of them it is the loopback's."""
        number = next(self._numbers)
        self._watches[number] = wire.watch_on(port, wire.EVERY_INTERFACE)
        return {"watch": number}

    def close(self, watch: int) -> dict[str, Any]:
        """What it saw."""
        found = self._watches.pop(watch)
        found.close()
        return {"seen": as_plain(found.seen)}


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        if self.rfile.readline().strip().decode(errors="replace") != os.environ[TOKEN]:
            return
        for line in self.rfile:
            answer = self.server.agent.answer(json.loads(line))  # type: ignore[attr-defined]
            self.wfile.write(json.dumps(answer).encode() + b"\n")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        self.agent = Agent()
        host, _, port = os.environ[LISTEN].rpartition(":")
        super().__init__((host, int(port)), _Handler)


if __name__ == "__main__":
    with _Server() as server:
        sys.stdout.write(f"{READY}\n")
        sys.stdout.flush()
        server.serve_forever(poll_interval=60)
