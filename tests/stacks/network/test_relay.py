"""The relay in front of a server of ours: what arrives, when, and in which order."""

import contextlib
import os
import signal
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runner import waiting
from runner.provision.native import NativeProvider
from runner.provision.native_service import NativeService
from runner.provision.service import Address
from runner.stacks.network.distance import start_relay

LIMIT = 60.0


class EchoServer:
    """Answers every chunk with itself, after its greeting if it has one, and keeps what arrived."""

    def __init__(self, *, greeting: bytes = b"") -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = Address(*self._listener.getsockname())
        self.greeting = greeting
        self.arrived = bytearray()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            if self.greeting:
                client.sendall(self.greeting)
            with contextlib.suppress(OSError):
                while data := client.recv(65_536):
                    self.arrived += data
                    client.sendall(data)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def provider() -> Iterator[NativeProvider]:
    with closing(NativeProvider()) as made:
        yield made


@pytest.fixture
def server() -> Iterator[EchoServer]:
    with closing(EchoServer()) as made:
        yield made


def relay_to(provider: NativeProvider, address: Address, seconds: float, logs: Path) -> NativeService:
    relay = start_relay(provider, address, seconds, "relay", logs)
    assert isinstance(relay, NativeService)
    return relay


def dial(address: Address) -> socket.socket:
    client = socket.create_connection((address.host, address.port), timeout=LIMIT)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def receive(client: socket.socket, number: int) -> bytes:
    found = b""
    while len(found) < number:
        data = client.recv(65_536)
        assert data, f"the connection ended after {len(found)} of {number} bytes"
        found += data
    return found


def echo_seconds(client: socket.socket) -> float:
    def echo() -> None:
        client.sendall(b"x")
        receive(client, 1)

    return waiting.seconds_of(echo)


def test_a_round_trip_takes_what_was_asked(provider: NativeProvider, server: EchoServer, tmp_path: Path) -> None:
    """Never less; and not much more, once the machine lets us measure it."""
    asked = 0.010
    relay = relay_to(provider, server.address, asked, tmp_path)
    with dial(relay.address) as far, dial(server.address) as near:
        echo_seconds(far)
        added = 0.0
        for _ in range(20):
            added = statistics.median(echo_seconds(far) for _ in range(25))
            least = min(echo_seconds(far) for _ in range(5))
            assert least >= asked, "nothing is faster than the wire"
            added -= statistics.median(echo_seconds(near) for _ in range(25))
            if added <= asked * 1.05 + 0.0003:
                return
        pytest.skip(f"the machine is too busy to hold a timer: {added * 1000:.2f} ms added for {asked * 1000:g}")


def test_connecting_costs_its_round_trip(provider: NativeProvider, server: EchoServer, tmp_path: Path) -> None:
    """The first answer takes two: one for the SYN and its answer, one for the bytes. So does a greeting."""
    asked = 0.05
    relay = relay_to(provider, server.address, asked, tmp_path)
    with dial(relay.address) as warm:
        echo_seconds(warm)
    began = time.monotonic()
    with dial(relay.address) as client:
        client.sendall(b"x")
        receive(client, 1)
    assert time.monotonic() - began >= 2 * asked
    with closing(EchoServer(greeting=b"hello")) as speaks_first:
        second = start_relay(provider, speaks_first.address, asked, "second", tmp_path)
        dial(second.address).close()
        began = time.monotonic()
        with dial(second.address) as client:
            assert receive(client, 5) == b"hello"
        assert time.monotonic() - began >= 2 * asked


def test_everything_arrives_whole_and_in_order(provider: NativeProvider, server: EchoServer, tmp_path: Path) -> None:
    """More than fits into the kernel's buffers and the relay's own, with a reader that is slow to begin."""
    relay = relay_to(provider, server.address, 0.002, tmp_path)
    sent = os.urandom(12 << 20)
    with dial(relay.address) as client:
        writer = threading.Thread(target=client.sendall, args=(sent,))
        writer.start()
        time.sleep(0.3)
        assert receive(client, len(sent)) == sent
        writer.join(LIMIT)
    assert server.arrived == sent


def test_what_is_under_way_arrives_though_it_ends(provider: NativeProvider, server: EchoServer, tmp_path: Path) -> None:
    relay = relay_to(provider, server.address, 0.6, tmp_path)
    with dial(relay.address) as client:
        echo_seconds(client)
        client.sendall(b"last words")
        time.sleep(0.1)
        os.kill(relay.pid, signal.SIGTERM)
        assert waiting.wait_for(lambda: server.arrived.endswith(b"last words") or None, LIMIT)
        assert relay.wait(LIMIT), "then it ends by itself"
    with pytest.raises(ConnectionRefusedError):
        dial(relay.address)


def test_a_server_that_is_not_there(provider: NativeProvider, tmp_path: Path) -> None:
    relay = relay_to(provider, provider.free_address(), 0.002, tmp_path)
    with dial(relay.address) as client, pytest.raises(ConnectionResetError):
        client.recv(1)
    assert relay.alive()


def test_it_sleeps_while_nothing_happens(provider: NativeProvider, server: EchoServer, tmp_path: Path) -> None:
    """Half-closed and reset connections included, which epoll reports again and again."""
    relay = relay_to(provider, server.address, 0.3, tmp_path)
    with dial(relay.address) as idle, dial(relay.address) as half, dial(relay.address) as reset:
        for client in (idle, half, reset):
            echo_seconds(client)
        half.shutdown(socket.SHUT_WR)
        reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        reset.close()
        before = relay.cpu_seconds()
        time.sleep(2)
        assert relay.cpu_seconds() - before < 0.5
