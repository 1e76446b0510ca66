"""A wire between two hosts of a test's own that is as long as it is told to be.

Where the kernel has `sch_netem`, `tc qdisc … netem delay` does the same; many kernels have not. Here a packet that one
host sends to the other leaves it by a TUN device, is kept for half of the round trip, and arrives by the other's.
"""

import collections
import contextlib
import fcntl
import os
import select
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.namespaces import Host

TUN = Path("/dev/net/tun")
# From <linux/if_tun.h>: packets as they are, without a header of the device's own.
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
#: Of a packet.
MOST = 65_536


class _Delay:
    """Hands packets from either end to the other, each so many seconds after it came."""

    def __init__(self, ends: tuple[int, int], seconds: float) -> None:
        self._others = dict(zip(ends, reversed(ends), strict=True))
        self._seconds = seconds
        self._under_way: collections.deque[tuple[float, int, bytes]] = collections.deque()
        self._over, self._ending = os.pipe()
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        # A wire does not wait for a processor, where it may say so.
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -20)
        while True:
            patience = max(0.0, self._under_way[0][0] - time.monotonic()) if self._under_way else None
            ready, _, _ = select.select([self._over, *self._others], [], [], patience)
            if self._over in ready:
                return
            for end in ready:
                with contextlib.suppress(BlockingIOError):
                    while packet := os.read(end, MOST):
                        self._under_way.append((time.monotonic() + self._seconds, self._others[end], packet))
            while self._under_way and self._under_way[0][0] <= time.monotonic():
                _, end, packet = self._under_way.popleft()
                # As a network does with what its other end cannot take.
                with contextlib.suppress(OSError):
                    os.write(end, packet)

    def close(self) -> None:
        os.write(self._ending, b".")
        self._thread.join()
        for descriptor in (self._over, self._ending):
            os.close(descriptor)


@contextlib.contextmanager
def wire(one: Host, other: Host, round_trip: float) -> Iterator[None]:
    """What the two hosts send each other takes this way, `round_trip` seconds with its answer; gone at the end."""
    if not TUN.exists():
        pytest.skip(f"there is no {TUN} to delay packets with: not tried here")
    with contextlib.ExitStack() as undo:
        ends = []
        for host, peer in ((one, other), (other, one)):
            # The device goes with its descriptor.
            end = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
            undo.callback(os.close, end)
            device = f"cbw{host.name[-8:]}"
            fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TUN | _IFF_NO_PI))
            _ip("link", "set", device, "netns", host.name)
            _ip("-n", host.name, "link", "set", device, "up")
            _ip("-n", host.name, "route", "add", f"{peer.address}/32", "dev", device, "src", host.address)
            ends.append(end)
        undo.callback(_Delay((ends[0], ends[1]), round_trip / 2).close)
        yield


def _ip(*arguments: str) -> None:
    assert shutil.which("ip"), "namespaces were made with it"
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
