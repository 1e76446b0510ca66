"""What a watch on a port has seen, as plain data that can travel, and how many connections that means."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from typing import Any

from runner.provision.service import Belongs, Held


@dataclass(frozen=True)
class Packets:
    """The first and last packets of connections, in order: the client's port, and whether it opens."""

    events: Sequence[tuple[int, bool]]
    #: That were not recorded.
    lost: int

    def held(self, first: AbstractSet[int], belongs: Belongs) -> Held:
        """See `runner.provision.service.Watch`."""
        # A port of `first` whose first packet was seen after all is counted from that packet on.
        begun: dict[int, bool] = {}
        for port, opens in self.events:
            begun.setdefault(port, opens)
        now = {port for port in first if not begun.get(port, False)}
        peak, opened = len(now), 0
        for port, opens in self.events:
            if not opens:
                now.discard(port)
            elif belongs(port) and port not in now:  # else the first packet once more, sent again
                opened += 1
                now.add(port)
                peak = max(peak, len(now))
        doubt = f"{self.lost} packets were not recorded" if self.lost else ""
        return Held(peak, opened, doubt)


@dataclass(frozen=True)
class Looks:
    """The clients' ports that were established at each look."""

    looks: Sequence[Sequence[int]]

    def held(self, first: AbstractSet[int], belongs: Belongs) -> Held:
        """See `runner.provision.service.Watch`."""
        peak = max(sum(port in first or belongs(port) for port in look) for look in self.looks)
        doubt = f"seen in {len(self.looks)} looks; a peak between them needs the right to watch packets"
        return Held(peak, None, doubt)


Seen = Packets | Looks


def as_plain(seen: Seen) -> dict[str, Any]:
    """For JSON."""
    return asdict(seen)


def from_plain(plain: Mapping[str, Any]) -> Seen:
    """The other way round."""
    return Looks(plain["looks"]) if "looks" in plain else Packets(plain["events"], plain["lost"])
