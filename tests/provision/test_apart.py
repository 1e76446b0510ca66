"""One account of what clients on several hosts hold. Real hosts are in tests/test_apart.py."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import pytest

from runner.errors import StackError
from runner.provision.apart import WireApart
from runner.provision.service import Belongs, Held


class OneHost:
    """A host's account of its clients: those that have connections, and what its watch will have seen."""

    def __init__(self, established: Sequence[int], held: Held, fault: str = "") -> None:
        self._established = frozenset(established)
        self._held = held
        self._fault = fault
        self.open_watches = 0
        self.first: AbstractSet[int] = frozenset()

    def established(self, port: int) -> frozenset[int]:
        assert port == 5432
        return self._established

    def watch(self, port: int, host: str = "") -> "OneHost":
        assert (port, host) == (5432, "10.0.0.3")
        if self._fault:
            raise StackError(self._fault)
        self.open_watches += 1
        return self

    def close(self) -> None:
        self.open_watches -= 1

    def held(self, first: AbstractSet[int], belongs: Belongs) -> Held:
        assert belongs(1)
        self.first = first
        return self._held


def everything(_port: int) -> bool:
    return True


def test_each_host_is_asked_for_its_own_clients() -> None:
    app, database = OneHost([40_001, 40_002], Held(4, 2)), OneHost([40_003], Held(0, 0))
    wire = WireApart([app, database])
    assert wire.established(5432) == {40_001, 40_002, 40_003}
    watch = wire.watch(5432, "10.0.0.3")
    watch.close()
    assert watch.held({40_001, 40_003}, everything) == Held(4, 2)
    assert (app.first, database.first) == ({40_001}, {40_003})
    assert (app.open_watches, database.open_watches) == (0, 0)


def test_peaks_on_two_hosts_need_not_have_been_at_one_moment() -> None:
    hosts = [OneHost([], Held(3, None, "seen in 5 looks")), OneHost([], Held(2, 7))]
    watch = WireApart(hosts).watch(5432, "10.0.0.3")
    watch.close()
    held = watch.held(frozenset(), everything)
    assert (held.peak, held.opened) == (5, None)
    assert held.doubt == "seen in 5 looks; clients on several hosts, whose peaks need not have been at one moment"


def test_a_host_that_cannot_watch_leaves_none_behind() -> None:
    first = OneHost([], Held(0, 0))
    with pytest.raises(StackError, match="no more sockets"):
        WireApart([first, OneHost([], Held(0, 0), fault="no more sockets")]).watch(5432, "10.0.0.3")
    assert first.open_watches == 0
