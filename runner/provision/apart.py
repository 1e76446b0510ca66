"""The parts of a stack on hosts of their own, each a Docker engine: a provider for each, one account of the wire."""

import contextlib
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from runner.errors import StackError
from runner.provision.docker import DockerProvider
from runner.provision.native import PORTS
from runner.provision.roles import Hosts, Roles
from runner.provision.service import Belongs, Held, Provider, Role, Watch, Wire


class ApartProvider(DockerProvider):
    """That of the app's host, which knows those of the others. See `runner.provision.service.Provider`."""

    def __init__(self, roles: Roles, hosts: Hosts) -> None:
        self._hosts = hosts
        self._others: dict[str, DockerProvider] = {}
        super().__init__(roles, hosts.app, on_host=True)
        try:
            for name in (hosts.of("database"), hosts.of("pooler")):
                if name != hosts.app and name not in self._others:
                    self._others[name] = DockerProvider(roles, name, on_host=True)
            self._join()
        except BaseException:
            self.close()
            raise

    def _join(self) -> None:
        everywhere: list[DockerProvider] = [self, *self._others.values()]
        # Two names can lead to one host.
        wire = WireApart(list({one.pod.eyes.network(): one.wire for one in everywhere}.values()))
        for one in everywhere:
            one.wire = wire

    def at(self, role: Role) -> Provider:
        return self._others.get(self._hosts.of(role), self)

    def round_trip_to(self, role: Role) -> float | None:
        """StackError where the app's host does not get there at all."""
        other = self._others.get(self._hosts.of(role))
        if other is None:
            return None
        host, port = other.pod.agent_at
        try:
            return self.pod.eyes.round_trip((host, port))
        except StackError as error:
            raise StackError(
                f"the app's host ({self._hosts.app}) does not reach the {role}'s at {host}:{port} ({error}): "
                f"the ports {PORTS[0]} to {PORTS[-1]} must be open between them"
            ) from error

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            for one in self._others.values():
                stack.callback(one.close)
            # The app goes first.
            stack.callback(super().close)


class WireApart:
    """What clients on several hosts hold: each host's kernel has its own clients' account."""

    def __init__(self, hosts: Sequence[Wire]) -> None:
        self._hosts = hosts

    def established(self, port: int) -> frozenset[int]:
        return frozenset().union(*(host.established(port) for host in self._hosts))

    def watch(self, port: int, host: str = "127.0.0.1") -> "WatchApart":
        watches: list[Watch] = []
        try:
            for one in self._hosts:
                watches.append(one.watch(port, host))  # noqa: PERF401  those that were begun are closed where one cannot be
        except BaseException:
            _close(watches)
            raise
        return WatchApart(watches, [host.established(port) for host in self._hosts])


class WatchApart:
    """See `runner.provision.service.Watch`. `first`: what each host's clients had open when the watch began."""

    def __init__(self, watches: Sequence[Watch], first: Sequence[AbstractSet[int]]) -> None:
        self._watches = watches
        self._first = first

    def close(self) -> None:
        _close(self._watches)

    def held(self, first: AbstractSet[int], belongs: Belongs) -> Held:
        found = [watch.held(first & own, belongs) for watch, own in zip(self._watches, self._first, strict=True)]
        opened = [one.opened for one in found]
        doubts = [one.doubt for one in found if one.doubt]
        if sum(one.peak > 0 for one in found) > 1:
            doubts.append("clients on several hosts, whose peaks need not have been at one moment")
        return Held(
            sum(one.peak for one in found),
            None if None in opened else sum(one or 0 for one in opened),
            "; ".join(doubts),
        )


def _close(watches: Sequence[Watch]) -> None:
    with contextlib.ExitStack() as stack:
        for watch in watches:
            stack.callback(watch.close)
