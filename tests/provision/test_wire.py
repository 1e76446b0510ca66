"""Watching a port's connections: what clients hold, however slow the server is to notice."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from runner.errors import StackError
from runner.provision import wire
from runner.provision.service import Held

Listener = socket.socket


@pytest.fixture
def server() -> Iterator[Listener]:
    """Its clients are connected by the kernel; nobody accepts them, which is the slowest server of all."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield listener


def port_of(server: Listener) -> int:
    return int(server.getsockname()[1])


def client(server: Listener) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port_of(server)))


def local_port(connection: socket.socket) -> int:
    return int(connection.getsockname()[1])


@pytest.fixture
def packets(server: Listener) -> Iterator[wire.PacketWatch]:
    try:
        watch = wire.PacketWatch(port_of(server))
    except PermissionError:
        pytest.skip("packet sockets need root or CAP_NET_RAW")
    yield watch
    watch.close()


def every_port(_port: int) -> bool:
    return True


def test_the_kernel_lists_what_clients_have_not_closed(server: Listener) -> None:
    with client(server) as one, client(server) as two:
        client(server).close()
        assert wire.established(port_of(server)) == {local_port(one), local_port(two)}
    assert wire.established(port_of(server)) == frozenset()


def test_one_after_the_other_is_never_two(server: Listener, packets: wire.PacketWatch) -> None:
    for _ in range(80):
        client(server).close()
    packets.close()
    assert packets.held(frozenset(), every_port) == Held(peak=1, opened=80)


def test_connections_from_before_count_until_they_close(server: Listener) -> None:
    with client(server) as before:
        try:
            watch = wire.PacketWatch(port_of(server))
        except PermissionError:
            pytest.skip("packet sockets need root or CAP_NET_RAW")
        first = wire.established(port_of(server))
        more = [client(server) for _ in range(2)]
        before.close()
        more.append(client(server))
        watch.close()
    assert watch.held(first, every_port) == Held(peak=3, opened=3)
    for connection in more:
        connection.close()


def test_other_accounts_ports_are_left_out(server: Listener, packets: wire.PacketWatch) -> None:
    with client(server) as own, client(server):
        packets.close()
        assert packets.held(frozenset(), {local_port(own)}.__contains__) == Held(peak=1, opened=1)


def test_a_killed_clients_connection_ends(server: Listener, packets: wire.PacketWatch) -> None:
    """A socket with unread data is ended by a reset, not in good order."""
    abrupt = client(server)
    abrupt.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    abrupt.close()
    with client(server):
        packets.close()
    assert packets.held(frozenset(), every_port) == Held(peak=1, opened=2)


def test_more_packets_than_the_ring_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread empties it again and again; what is lost even so is said."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        monkeypatch.setattr(wire, "_FRAMES", 512)
        monkeypatch.setattr(wire.PacketWatch, "every", 10.0)
        try:
            watch = wire.PacketWatch(port_of(server))
        except PermissionError:
            pytest.skip("packet sockets need root or CAP_NET_RAW")
        for _ in range(300):
            client(server).close()
            server.accept()[0].close()
        watch.close()
    assert "packets were not recorded" in watch.held(frozenset(), every_port).doubt


def test_looks_never_see_more_than_was_held(server: Listener) -> None:
    with closing(wire.LookWatch(port_of(server))) as watch:
        held = [client(server) for _ in range(4)]
        for _ in range(20):
            held.pop().close()
            held.append(client(server))
            time.sleep(0.005)
    found = watch.held(frozenset(), every_port)
    assert (found.peak, found.opened) == (4, None)
    assert "looks" in found.doubt
    for connection in held:
        connection.close()


def test_without_the_right_the_lesser_watch_is_taken(server: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_port: int, _interface: str) -> wire.ThreadWatch:
        raise PermissionError

    monkeypatch.setattr(wire, "PacketWatch", forbidden)
    with closing(wire.watch(port_of(server))) as watch:
        assert isinstance(watch, wire.LookWatch)


def test_a_fault_of_the_thread_appears_when_it_is_closed(server: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = wire.LookWatch(port_of(server))

    def broken(_port: int) -> frozenset[int]:
        raise OSError("no more sockets")

    monkeypatch.setattr(wire, "_listed", broken)
    time.sleep(0.1)
    with pytest.raises(StackError, match="no more sockets"):
        watch.close()


# A host of its own at the other end of a wire: at one port connections wait and nobody accepts them, at the other each
# is reset, as by a server that is killed.
LISTEN = """
import socket, sys, threading
def reset(server):
    while True:
        client, _ = server.accept()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        client.close()
with socket.create_server((sys.argv[1], 5432), backlog=100), socket.create_server((sys.argv[1], 5433)) as abrupt:
    threading.Thread(target=reset, args=(abrupt,), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def far_host() -> Iterator[str]:
    """Its address, from which port 5432 is reached; a network namespace."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network namespace needs root, and iproute2")
    # A network that belongs to nobody (RFC 2544).
    name, net = f"cb{os.getpid()}", f"198.18.{os.getpid() % 250}"
    with ExitStack() as made:
        if subprocess.run(["ip", "netns", "add", name], check=False).returncode:
            pytest.skip("no network namespace can be made here")
        made.callback(ip, f"netns del {name}")
        ip(f"link add {name}a type veth peer name {name}b netns {name}")
        ip(f"addr add {net}.1/24 dev {name}a")
        ip(f"link set {name}a up")
        ip(f"-n {name} addr add {net}.2/24 dev {name}b")
        ip(f"-n {name} link set {name}b up")
        argv = ["ip", "netns", "exec", name, sys.executable, "-c", LISTEN, f"{net}.2"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as listener:
            assert listener.stdout is not None
            assert listener.stdout.readline() == b"ready\n"
            yield f"{net}.2"
            assert listener.stdin is not None
            listener.stdin.close()


def ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True)


def test_another_hosts_port_is_watched_on_the_way_there(far_host: str) -> None:
    assert wire.interface_to(far_host).startswith("cb")
    with closing(wire.watch(5432, far_host)) as watch:
        for _ in range(20):
            socket.create_connection((far_host, 5432)).close()
        with socket.create_connection((far_host, 5432)), socket.create_connection((far_host, 5432)):
            assert len(wire.established(5432)) >= 2
        watch.close()
        assert watch.held(frozenset(), every_port) == Held(2, 22)


def test_another_hosts_reset_ends_a_connection(far_host: str) -> None:
    """This machine has nothing to send any more."""
    with closing(wire.watch_on(5433, wire.EVERY_INTERFACE)) as watch:
        for _ in range(5):
            with pytest.raises(ConnectionResetError), socket.create_connection((far_host, 5433), timeout=30) as client:
                client.recv(1)
        watch.close()
        assert watch.held(frozenset(), every_port) == Held(peak=1, opened=5)


def test_on_every_interface_a_connection_counts_once(server: Listener) -> None:
    with closing(wire.watch_on(port_of(server), wire.EVERY_INTERFACE)) as watch:
        for _ in range(40):
            client(server).close()
        with client(server), client(server):
            watch.close()
        assert watch.held(frozenset(), every_port) == Held(peak=2, opened=42)


def test_what_this_machine_sends_to_itself_takes_the_loopback_interface() -> None:
    assert wire.interface_to("127.0.0.1") == wire.interface_to("localhost") == "lo"
    with pytest.raises(StackError, match=r"no way leads to nowhere\.invalid from here"):
        wire.interface_to("nowhere.invalid")
