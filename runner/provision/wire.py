"""Which TCP connections clients hold to one server's port, by the kernel's account.

A server is always late: it learns that a client has closed its connection when its process (PostgreSQL) or
thread (MariaDB, MySQL) gets the processor, and by then the client may have opened the next one. On two loaded
cores, four clients that never held more than one connection each occupied up to 5 slots of PostgreSQL and up
to 9 of MariaDB, sixteen up to 27. PostgreSQL had most often noticed within 1 ms, and in one of a thousand cases
6 to 50 ms late, so that no allowance for it is both safe and exact. How many connections an
application *held* cannot be told from the server's books alone. The kernel knows, because a client's `close`
and its next `connect` reach it in order.

Two watches ask it. `PacketWatch` sees each connection's first and last packet and is exact; it needs the
right to open a packet socket (root, or CAP_NET_RAW). `LookWatch` needs no right: it lists the established
connections again and again, so that it never sees more than were held, and may miss a moment.
"""

import contextlib
import ctypes
import fcntl
import mmap
import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Set as AbstractSet

from runner.errors import StackError
from runner.provision.seen import Looks, Packets, Seen
from runner.provision.service import Belongs, Held

LOOPBACK, EVERY_INTERFACE = "lo", ""


class ThreadWatch(ABC):
    """Watches the connections to one port from its making until `close`, in a thread that sleeps."""

    #: Seconds between two turns of the thread.
    every: float

    def __init__(self, port: int) -> None:
        self.port = port
        self._over = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"wire-{port}", daemon=True)

    def _run(self) -> None:
        try:
            while not self._over.wait(self.every):
                self._turn()
        except (OSError, StackError) as error:
            self._error = error

    def close(self) -> None:
        """Ends the watch; a fault of its thread appears here."""
        if not self._over.is_set():
            self._over.set()
            self._thread.join()
            if self._error is None:
                with contextlib.suppress(OSError):
                    self._turn()
            self._release()
        if self._error is not None:
            raise StackError(f"the watch on port {self.port} failed: {self._error}") from self._error

    @property
    @abstractmethod
    def seen(self) -> Seen:
        """After `close`."""

    def held(self, first: AbstractSet[int], belongs: Belongs) -> Held:
        """See `runner.provision.service.Watch`."""
        return self.seen.held(first, belongs)

    @abstractmethod
    def _turn(self) -> None: ...

    @abstractmethod
    def _release(self) -> None: ...


def watch(port: int, host: str = "127.0.0.1") -> ThreadWatch:
    """On what leads to `host` from here."""
    return watch_on(port, interface_to(host))


def watch_on(port: int, interface: str) -> ThreadWatch:
    """The exact watch where this process may have it, else the other."""
    try:
        return PacketWatch(port, interface)
    except PermissionError:
        return LookWatch(port)


# From <linux/if_packet.h>, <linux/if_ether.h> and <linux/filter.h>. A packet that is being sent is shown to
# the sockets of all protocols alone.
_SOL_PACKET, _PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION, _TPACKET_V2 = 263, 5, 6, 10, 1
_ETH_P_ALL, _SO_ATTACH_FILTER, _TP_STATUS_KERNEL, _TP_STATUS_USER = 0x0003, 26, 0, 1
# One frame holds the kernel's header (80 bytes with its padding) and the 40 bytes of an IP and a TCP header.
_FRAME, _FRAMES, _BLOCK = 128, 16_384, 65_536
_SIOCGIFADDR = 0x8915  # from <linux/sockios.h>
_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10


def interface_to(host: str) -> str:
    """The network interface by which packets for `host` leave this machine; StackError where there is none."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))  # any port: nothing is sent
            own, there = probe.getsockname()[0], probe.getpeername()[0]
            names = [name for _, name in socket.if_nameindex()]
            found = [name for name in names if _address_of(probe, name) == own]
    except OSError as error:
        raise StackError(f"no way leads to {host} from here: {error}") from error
    # What a machine sends to itself takes the loopback interface, whichever address it is sent to.
    if own == there or own.startswith("127."):
        return LOOPBACK
    if not found:
        raise StackError(f"no network interface has {own}, from where packets for {host} leave")
    return found[0]


def _address_of(any_socket: socket.socket, interface: str) -> str:
    """Its IPv4 address, or nothing."""
    request = struct.pack("256s", interface.encode())
    try:
        return socket.inet_ntoa(fcntl.ioctl(any_socket, _SIOCGIFADDR, request)[20:24])
    except OSError:
        return ""


def packet_filter(port: int) -> list[tuple[int, int, int, int]]:
    """The kernel's filter (classic BPF): first and last packets of `port`'s connections.

    Everything on the loopback interface passes a packet socket twice, sent and received. The first packet is taken as
    it is sent: that is the moment of the client's own system call, and on a host whose clients are elsewhere there is
    none. The last is taken both ways, since a server's reset is never answered. The server's answer to the first
    packet (SYN with ACK) is left out.
    """
    return [
        (0x28, 0, 0, 0xFFFFF000),  # the protocol below
        (0x15, 0, 18, 0x0800),  # IPv4
        (0x30, 0, 0, 9),  # the protocol
        (0x15, 0, 16, 6),  # TCP
        (0x28, 0, 0, 6),  # the fragment's offset
        (0x45, 14, 0, 0x1FFF),  # none
        (0xB1, 0, 0, 0),  # X = the IP header's length
        (0x50, 0, 0, 13),  # the flags
        (0x45, 0, 11, _FIN | _SYN | _RST),
        (0x54, 0, 0, _SYN | _ACK),
        (0x15, 9, 0, _SYN | _ACK),
        (0x15, 0, 2, _SYN),
        (0x28, 0, 0, 0xFFFFF004),  # the packet's type
        (0x15, 0, 6, 4),  # outgoing
        (0x48, 0, 0, 0),  # the source port
        (0x15, 2, 0, port),
        (0x48, 0, 0, 2),  # the destination port
        (0x15, 0, 2, port),
        (0x06, 0, 0, 40),  # accepted: the two headers
        (0x06, 0, 0, 40),
        (0x06, 0, 0, 0),  # dropped
    ]


class PacketWatch(ThreadWatch):
    """Exact: the first and the last packet of each connection of this machine's clients, in the order of their sending.

    `interface` is the one by which they reach the server, or all of them (`EVERY_INTERFACE`).
    """

    every = 0.1

    def __init__(self, port: int, interface: str = LOOPBACK) -> None:
        super().__init__(port)
        self._interface = interface
        # The program and the socket's ring live in the kernel; nothing is woken by a packet. It has none before it is
        # bound, or before it has the ring where it is bound to no interface.
        protocol = 0 if interface else socket.htons(_ETH_P_ALL)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, protocol)
        self._events: list[tuple[int, bool]] = []
        self._lost = 0
        self._next = 0
        try:
            self._attach()
        except BaseException:
            self._socket.close()
            raise
        self._thread.start()

    def _attach(self) -> None:
        program = b"".join(struct.pack("HBBI", *step) for step in packet_filter(self.port))
        buffer = ctypes.create_string_buffer(program, len(program))
        pointer = struct.pack("HL", len(program) // 8, ctypes.addressof(buffer))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V2)
        ring = struct.pack("IIII", _BLOCK, _FRAME * _FRAMES // _BLOCK, _FRAME, _FRAMES)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_RX_RING, ring)
        self._ring = mmap.mmap(self._socket.fileno(), _FRAME * _FRAMES)
        if self._interface:
            self._socket.bind((self._interface, _ETH_P_ALL))
        else:
            self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)  # of before it had the ring

    def _turn(self) -> None:
        """Takes what the kernel has put into the ring, and hands the frames back to it."""
        for _ in range(_FRAMES):
            start = self._next * _FRAME
            status, _length, kept, _mac, net = struct.unpack_from("IIIHH", self._ring, start)
            if not status & _TP_STATUS_USER:
                break
            self._packet(self._ring[start + net : start + net + kept])
            struct.pack_into("I", self._ring, start, _TP_STATUS_KERNEL)
            self._next = (self._next + 1) % _FRAMES
        _packets, drops = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._lost += drops

    def _packet(self, data: bytes) -> None:
        header = (data[0] & 0x0F) * 4
        source, destination = struct.unpack_from("!HH", data, header)
        opens = bool(data[header + 13] & _SYN)
        self._events.append((destination if source == self.port else source, opens))

    def _release(self) -> None:
        self._ring.close()
        self._socket.close()

    @property
    def seen(self) -> Packets:
        return Packets(self._events, self._lost)


class LookWatch(ThreadWatch):
    """A bound from below: what was established at each look."""

    every = 0.02

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._looks: list[list[int]] = []
        self._turn()
        self._thread.start()

    def _turn(self) -> None:
        # The kernel does not list at one moment: a client that closes one connection and opens the next while
        # it lists may be in the list with both. What is in two lists was there at each moment between them.
        self._looks.append(sorted({port for port, _ in _listed(self.port) & _listed(self.port)}))

    def _release(self) -> None:
        pass

    @property
    def seen(self) -> Looks:
        return Looks(self._looks)


# From <linux/netlink.h>, <linux/sock_diag.h> and <linux/inet_diag.h>.
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP = 4, 20, 0x301
_NLMSG_ERROR, _NLMSG_DONE, _TCP_ESTABLISHED = 2, 3, 1


def established(port: int) -> frozenset[int]:
    """The client ports of this machine's connections to `port` that their clients have not closed."""
    return frozenset(client for client, _ in _listed(port))


def _listed(port: int) -> frozenset[tuple[int, bytes]]:
    """The same with the kernel's mark of each socket, which is not used again as a port may be."""
    request = struct.pack("BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 0, 1 << _TCP_ESTABLISHED)
    request += struct.pack("!HH44x", 0, port)
    message = struct.pack("IHHII", 16 + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0) + request
    found: set[tuple[int, bytes]] = set()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.sendto(message, (0, 0))
        while True:
            answer = kernel.recv(65_536)
            at = 0
            while at < len(answer):
                length, kind = struct.unpack_from("IH", answer, at)
                if kind == _NLMSG_DONE:
                    return frozenset(found)
                if kind == _NLMSG_ERROR:
                    raise StackError("the kernel does not list sockets (sock_diag)")
                # struct inet_diag_msg after a header of 16 bytes: its source port, and the socket's cookie.
                found.add((struct.unpack_from("!H", answer, at + 20)[0], answer[at + 60 : at + 68]))
                at += (length + 3) & ~3
