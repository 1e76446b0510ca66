"""A database further away: the relay in front of it, and what it really adds.

The relay is a process of our own. `tc netem` in a network namespace would delay the kernel's own packets, but takes
CAP_NET_ADMIN and a kernel with sch_netem, and many machines have neither; so every machine gets the same relay.
"""

import socket
import statistics
from dataclasses import dataclass
from pathlib import Path

from runner.errors import StackError
from runner.provision.native import NativeProvider, NativeService, own_module
from runner.provision.service import Address
from runner.stacks.databases.base import Account, Database

PORT_TRIES = 10
# Clients that wait to be taken in: more than any group connects at once.
BACKLOG = 4096
# Statements on one session, each way, of which the median is taken …
STATEMENTS = 25
# … in rounds, since other servers are being set up meanwhile: a busy processor can only add to a distance. The round
# that adds least counts, and the first that is this near to what was asked (share, and seconds) is the last.
ROUNDS = 8
NEAR_ENOUGH = (0.05, 0.0003)


@dataclass(frozen=True)
class Distance:
    """Where a database is reached that is further away, and the seconds of a statement there and without it."""

    relay: NativeService
    near: float
    far: float

    @property
    def added(self) -> float:
        """Seconds that a round trip really takes longer."""
        return self.far - self.near


def set_apart(database: Database, provider: NativeProvider, name: str, logs: Path) -> Distance:
    """Puts a started database `database.spec.round_trip` seconds away, and measures how far that is."""
    relay = start_relay(provider, database.service.address, database.spec.round_trip, f"{name}-distance", logs)
    account = database.create_empty("distance")
    try:
        return _measured(database, account, relay)
    finally:
        database.drop(account)


def _measured(database: Database, account: Account, relay: NativeService) -> Distance:
    asked, (share, seconds) = database.spec.round_trip, NEAR_ENOUGH
    rounds: list[Distance] = []
    while len(rounds) < ROUNDS:
        near, far = (
            statistics.median(database.time_statements(account, address, STATEMENTS))
            for address in (database.service.address, relay.address)
        )
        rounds.append(Distance(relay, near, far))
        if asked <= rounds[-1].added <= asked * (1 + share) + seconds:
            break
    # Where the near way was slow for a moment, the distance looks shorter than it can be.
    sound = [one for one in rounds if one.added >= asked]
    return min(sound or rounds, key=lambda one: abs(one.added - asked))


def start_relay(provider: NativeProvider, server: Address, round_trip: float, name: str, logs: Path) -> NativeService:
    """A relay that takes clients in from now on; `round_trip` in seconds."""
    with _listener(provider) as listener:
        arguments = (str(listener.fileno()), server.host, str(server.port), repr(round_trip))
        return provider.start(
            name,
            own_module("runner.stacks.network.relay", *arguments),
            Address(*listener.getsockname()),
            logs / f"{name}.log",
            pass_fds=[listener.fileno()],
        )


def _listener(provider: NativeProvider) -> socket.socket:
    """Ours before the process starts: no port to lose, and clients may come before it is ready."""
    for _ in range(PORT_TRIES):
        address = provider.free_address()
        try:
            return socket.create_server((address.host, address.port), backlog=BACKLOG)
        except OSError:
            continue
    raise StackError(f"no free port in {PORT_TRIES} tries")
