"""A database further away: the relay in front of it, and what it really adds.

The relay is a process of our own. `tc netem` in a network namespace would delay the kernel's own packets, but takes
CAP_NET_ADMIN and a kernel with sch_netem, and many machines have neither; so every machine gets the same relay.
"""

import statistics
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from runner import waiting
from runner.errors import StackError
from runner.provision.commands import PYTHON
from runner.provision.service import Address, Command, Provider, Service
from runner.stacks.databases.base import Account, Database
from runner.stacks.databases.starting import PORT_TAKEN
from runner.stacks.network.relay import READY

PORT_TRIES = 10
# It imports nothing but the standard library, and so runs wherever there is a Python.
RELAY = Path(__file__).parent / "relay.py"
# Statements on one session, each way, of which the median is taken …
STATEMENTS = 25
# … in rounds, since other servers are being set up meanwhile: a busy processor can only add to a distance. The round
# that adds least counts, and the first that is this near to what was asked (share, and seconds) is the last.
ROUNDS = 8
NEAR_ENOUGH = (0.05, 0.0003)


@dataclass(frozen=True)
class Distance:
    """Where a database is reached that is further away, and the seconds of a statement there and without it."""

    relay: Service
    near: float
    far: float

    @property
    def added(self) -> float:
        """Seconds that a round trip really takes longer."""
        return self.far - self.near


def set_apart(database: Database, provider: Provider, name: str, logs: Path) -> Distance:
    """Puts a started database `database.spec.round_trip` seconds away, and measures how far that is."""
    relay = start_relay(provider, database.service.address, database.spec.round_trip, f"{name}-distance", logs)
    account = database.create_empty("distance")
    try:
        return _measured(database, account, relay)
    finally:
        database.drop(account)


def _measured(database: Database, account: Account, relay: Service) -> Distance:
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


def start_relay(provider: Provider, server: Address, round_trip: float, name: str, logs: Path) -> Service:
    """A relay that takes clients in from now on; `round_trip` in seconds."""
    for number in range(1, PORT_TRIES + 1):
        address, log = provider.free_address(), logs / (f"{name}.log" if number == 1 else f"{name}-{number}.log")
        relay = provider.start(name, _command(provider, address.inside, server.inside, round_trip), address, log)
        if not waiting.wait_for(partial(_listens, relay), waiting.RELAY_START):
            tail = relay.log_tail()
            provider.stop(relay)
            if PORT_TAKEN not in tail:
                raise StackError(f"the relay to the database did not start; its log ends:\n{tail}")
            continue
        return relay
    raise StackError(f"no free port in {PORT_TRIES} tries")


def _command(provider: Provider, own: Address, server: Address, round_trip: float) -> Command:
    ends = (own.host, str(own.port), server.host, str(server.port))
    return Command(
        [provider.program(PYTHON, "python3"), str(RELAY), *ends, repr(round_trip)], kit=PYTHON, reads=[RELAY]
    )


def _listens(relay: Service) -> bool | None:
    """Told by its log: a connection would be one more that the server has had. False where it has ended."""
    if READY in relay.log_tail():
        return True
    return None if relay.alive() else False
