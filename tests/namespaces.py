"""Hosts of a test's own: network namespaces with an address each, on one bridge with this one."""

import contextlib
import os
import random
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

#: TEST-NET-2 (RFC 5737) belongs to nobody. Sessions side by side take a part of it each.
NETWORK = "198.51.100"
PARTS = 16


@dataclass(frozen=True)
class Host:
    """A namespace. `clock_ahead`: whole seconds that its monotonic clock is ahead of this machine's."""

    name: str
    address: str
    clock_ahead: int = 0

    def command(self, *argv: str) -> list[str]:
        """What runs a command in it."""
        clock = ["unshare", "--time", "--monotonic", str(self.clock_ahead)] if self.clock_ahead else []
        return ["ip", "netns", "exec", self.name, *clock, *argv]


@dataclass(frozen=True)
class Network:
    """`reach` is this machine's own address on it."""

    reach: str
    hosts: Sequence[Host]


def refuse_without_namespaces() -> None:
    """Skips, and says why, where they cannot be made."""
    missing = [name for name in ("ip", "unshare") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"network namespaces need root and {', '.join(missing) or 'nothing else'}: not tried here")
    for attempt in (["ip", "netns", "list"], ["unshare", "--time", "--net", "true"]):
        done = subprocess.run(attempt, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"network and time namespaces cannot be made here: {done.stderr.strip()}")


@contextlib.contextmanager
def network(clocks: Sequence[int]) -> Iterator[Network]:
    """So many hosts, each with its clock so far ahead; gone at the end."""
    refuse_without_namespaces()
    tag = uuid.uuid4().hex[:6]
    with contextlib.ExitStack() as undo:
        base = _bridge(f"cbb{tag}", undo)
        hosts = []
        for number, ahead in enumerate(clocks, start=1):
            host = Host(f"cbh{tag}-{number}", f"{NETWORK}.{base + 1 + number}", ahead)
            _ip("netns", "add", host.name)
            undo.callback(_ip, "netns", "del", host.name)
            link = f"cbv{tag}{number}"
            _ip(
                "link",
                "add",
                link,
                "master",
                f"cbb{tag}",
                "up",
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                host.name,
            )
            inside = ("-n", host.name)
            _ip(*inside, "addr", "add", f"{host.address}/28", "dev", "eth0")
            _ip(*inside, "link", "set", "eth0", "up")
            _ip(*inside, "link", "set", "lo", "up")
            hosts.append(host)
        yield Network(f"{NETWORK}.{base + 1}", hosts)


def _bridge(name: str, undo: contextlib.ExitStack) -> int:
    """A bridge with the first part of the network that no other session has."""
    _ip("link", "add", name, "type", "bridge")
    undo.callback(_ip, "link", "del", name)
    taken = subprocess.run(["ip", "-4", "-o", "addr"], capture_output=True, text=True, check=True).stdout
    free = [16 * part for part in range(PARTS) if f"inet {NETWORK}.{16 * part + 1}/28" not in taken]
    base = random.choice(free)
    _ip("addr", "add", f"{NETWORK}.{base + 1}/28", "dev", name)
    _ip("link", "set", name, "up")
    return base


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
