"""A process that puts a distance between clients and a server: what either says arrives half a round trip later.

Arguments: the host and port to listen at, the server's, and the seconds of a round trip. It prints `listening` when
it takes clients in. INT and TERM make it stop taking clients in, deliver what is under way, and end.

It does what a wire of that length would do, as seen from either end:

- The bytes of a connection arrive in order, each chunk at its own moment: half a round trip after it was sent.
- Connecting costs its round trip. The kernel takes a client in at once, so what the client says is held back for as
  long as its SYN and the answer would have travelled, and what the server says for as long as the third packet would.
- Connects and closes reach the server in the order in which they reached the relay, of all clients together: a client
  that closes one connection and then opens the next never holds both as the server sees it. Of what arrives at the
  same moment, closes go first.

It imports little, since it shares the machine with what is measured. Timers have the kernel's resolution: `select`
takes microseconds, and the one descriptor that it looks at is that of an epoll object.
"""

import contextlib
import heapq
import itertools
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable

READY = "listening"
# Clients that wait to be taken in: more than any group connects at once.
BACKLOG = 4096
CHUNK = 65_536
# What may be under way in one direction of a connection before its sender has to wait.
MOST_UNDER_WAY = 4 << 20
# Seconds for which a relay that is to end delivers what is still under way.
LEAVE_WITHIN = 2.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Flow:
    """One direction of a connection: what was read of `source` goes to `target`, later."""

    def __init__(self, connection: "Connection", source: socket.socket, target: socket.socket, travel: float) -> None:
        self.connection = connection
        self.source = source
        self.target = target
        #: Seconds after the client was taken in before which nothing can have been sent.
        self.travel = travel
        #: Read and not yet handed to the target's kernel, in bytes.
        self.under_way = 0
        #: Arrived, while the target's kernel had no room.
        self.arrived = bytearray()
        self.read_to_end = False
        self.over = False


class Connection:
    """A client's connection and the one to the server that stands for it."""

    def __init__(self, client: socket.socket, accepted: float, round_trip: float) -> None:
        self.client = client
        self.server = socket.socket()
        self.accepted = accepted
        self.connected = False
        for end in (self.client, self.server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.there = Flow(self, self.client, self.server, round_trip)
        self.back = Flow(self, self.server, self.client, 1.5 * round_trip)
        self.closed = False


class Relay:
    """`run` returns when it was told to stop and nothing is under way any more."""

    def __init__(self, listener: socket.socket, server: tuple[str, int], round_trip: float) -> None:
        self._listener = listener
        self._server = server
        self._round_trip = round_trip
        self._epoll = select.epoll()
        self._connections: set[Connection] = set()
        #: By the descriptor of the source, while that is watched.
        self._flows: dict[int, Flow] = {}
        #: What is due when; the number keeps the order of what is due at the same moment.
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._last_close = 0.0
        self._leave_at: float | None = None
        listener.setblocking(False)
        self._epoll.register(listener, select.EPOLLIN)
        self._wake, self._signals = socket.socketpair()
        for end in (self._wake, self._signals):
            end.setblocking(False)
        self._epoll.register(self._wake, select.EPOLLIN)

    def stop(self) -> None:
        """From a signal handler: no more clients, and an end once all is delivered."""
        if self._leave_at is None:
            self._leave_at = time.monotonic() + LEAVE_WITHIN
            self._signals.send(b"x")

    def run(self) -> None:
        while not self._is_done():
            limit = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            if self._leave_at is not None:
                limit = min(limit if limit is not None else LEAVE_WITHIN, 0.05)
            select.select([self._epoll.fileno()], [], [], limit)
            self._turn()

    def _is_done(self) -> bool:
        if self._leave_at is None:
            return False
        under_way = self._due or any(one.there.arrived or one.back.arrived for one in self._connections)
        return not under_way or time.monotonic() >= self._leave_at

    def _turn(self) -> None:
        ready = dict(self._epoll.poll(0))
        clients = self._take_in() if self._listener.fileno() in ready else []
        # A client's last close came before its connect: it is here now, if it was not when we looked first.
        ready |= dict(self._epoll.poll(0))
        for descriptor, events in ready.items():
            flow = self._flows.get(descriptor)
            if flow is not None:
                if events & select.EPOLLOUT:
                    self._push(flow.connection.back if flow.source is flow.connection.client else flow.connection.there)
                if events & ~select.EPOLLOUT:
                    self._read(flow)
        for client, accepted in clients:
            self._begin(client, accepted)
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()

    def _at(self, moment: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (moment, next(self._numbers), action))

    def _take_in(self) -> list[tuple[socket.socket, float]]:
        found: list[tuple[socket.socket, float]] = []
        with contextlib.suppress(BlockingIOError):
            while self._leave_at is None:
                found.append((self._listener.accept()[0], time.monotonic()))
        return found

    def _begin(self, client: socket.socket, accepted: float) -> None:
        connection = Connection(client, accepted, self._round_trip)
        self._connections.add(connection)
        self._watch(connection.there)
        self._at(max(accepted + self._round_trip / 2, self._last_close), lambda: self._connect(connection))

    def _connect(self, connection: Connection) -> None:
        if connection.closed:
            return
        try:
            connection.server.connect(self._server)
        except BlockingIOError:
            pass
        except OSError:
            self._abort(connection)
            return
        connection.connected = True
        self._watch(connection.back)

    def _watch(self, flow: Flow) -> None:
        """Sets what its source is watched for: more to read, and room for what has arrived for it."""
        connection = flow.connection
        opposite = connection.back if flow is connection.there else connection.there
        events = 0 if flow.read_to_end or flow.under_way > MOST_UNDER_WAY else select.EPOLLIN
        events |= select.EPOLLOUT if opposite.arrived else 0
        descriptor = flow.source.fileno()
        if descriptor in self._flows and events:
            self._epoll.modify(descriptor, events)
        elif descriptor in self._flows:
            # Watched for nothing it would still report that the other side has gone, again and again.
            del self._flows[descriptor]
            self._epoll.unregister(descriptor)
        elif events:
            self._flows[descriptor] = flow
            self._epoll.register(descriptor, events)

    def _read(self, flow: Flow) -> None:
        """Takes what has arrived from its source, to the end if there is one."""
        while not flow.read_to_end and flow.under_way <= MOST_UNDER_WAY and not flow.connection.closed:
            try:
                data = flow.source.recv(CHUNK)
            except BlockingIOError:
                break
            except OSError:
                flow.read_to_end = True
                self._at(self._arrival(flow), lambda: self._abort(flow.connection))
                break
            flow.read_to_end = not data
            flow.under_way += len(data)
            arrival = self._arrival(flow)
            if not data and flow is flow.connection.there:
                self._last_close = max(self._last_close, arrival)
            self._at(arrival, lambda data=data: self._deliver(flow, data))  # type: ignore[misc]
        if not flow.connection.closed:
            self._watch(flow)

    def _arrival(self, flow: Flow) -> float:
        sent = max(time.monotonic(), flow.connection.accepted + flow.travel)
        return sent + self._round_trip / 2

    def _deliver(self, flow: Flow, data: bytes) -> None:
        if flow.connection.closed:
            return
        flow.arrived += data
        flow.over |= not data
        self._push(flow)

    def _push(self, flow: Flow) -> None:
        """Hands on what has arrived, as far as there is room; after the last of it, the end."""
        connection = flow.connection
        if connection.closed:
            return
        try:
            while flow.arrived:
                sent = flow.target.send(flow.arrived)
                del flow.arrived[:sent]
                flow.under_way -= sent
        except BlockingIOError:
            pass
        except OSError:
            self._abort(connection)
            return
        if flow.over and not flow.arrived:
            with contextlib.suppress(OSError):  # the other end may have gone for good
                flow.target.shutdown(socket.SHUT_WR)
            if connection.there.over and connection.back.over:
                self._close(connection)
                return
        self._watch(flow)
        if connection.connected:
            self._watch(connection.back if flow is connection.there else connection.there)

    def _abort(self, connection: Connection) -> None:
        """Both ends learn that there is nobody any more."""
        if not connection.closed:
            for end in (connection.client, connection.server):
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        connection.closed = True
        self._connections.discard(connection)
        for end in (connection.client, connection.server):
            if self._flows.pop(end.fileno(), None) is not None:
                self._epoll.unregister(end)
            end.close()


def main() -> None:
    own_host, own_port, host, port, round_trip = sys.argv[1:]
    listener = socket.create_server((own_host, int(own_port)), backlog=BACKLOG)
    relay = Relay(listener, (host, int(port)), float(round_trip))
    for wanted in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wanted, lambda *_: relay.stop())
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    relay.run()


if __name__ == "__main__":
    main()
