"""How many connections a whole deployment opens, from what one host's stack holds, and what the database lets in."""

from collections.abc import Mapping

from runner.matrix.cells import Prediction
from runner.models import Strict

#: In the order in which a deployment meets them.
SITUATIONS = ("steady", "restart", "fault")
WORDS = {
    "steady": "steady",
    "restart": "rolling restart, one host after the other: its old and its new processes together",
    "fault": "after a fault: all hosts connect anew before the database has seen the end of the old connections",
}


class PoolerClients(Strict):
    """What the app's processes of one host hold to the pooler that is on it, which lets in `limit` of them.

    `each` is with the matrix's number of clients, `surge` with any; None: nothing bounds them. `sessions` are the
    pooler's own connections where each client that stays keeps one of them, and waits for one; None where it does not.
    """

    each: int | None
    surge: int | None
    limit: int
    sessions: int | None = None

    @property
    def turned_away(self) -> str:
        """What it does not let in, in words; empty where it lets in all, also while old and new processes are."""
        if self.each is None:
            return f"clients without bound for a pooler that lets in {self.limit}"
        if self.each > self.limit:
            return f"{self.each} clients for a pooler that lets in {self.limit}"
        if 2 * self.each > self.limit:
            return f"a rolling restart brings {2 * self.each} clients to a pooler that lets in {self.limit}"
        return ""

    @property
    def bounded(self) -> bool:
        """Whether it lets in all, also in a rolling restart, whatever the number of the app's own clients."""
        return self.surge is not None and 2 * self.surge <= self.limit

    @property
    def waiting(self) -> int:
        """How many wait, in a rolling restart, until old processes have given up their sessions."""
        return 0 if self.sessions is None or self.each is None else max(0, 2 * self.each - self.sessions)


class Budget(Strict):
    """Connections of all hosts together; `room` is what they may be. None: nothing bounds them.

    `each` is what one host holds with the matrix's number of clients, by `formula`; `surge` the most that all hosts
    hold in any situation if any number of clients come. `aliases` of the app's count, all as ways to one server.
    `pooler`: on each host, where there is one, which is not restarted with the app.
    """

    hosts: int
    each: int | None
    formula: str
    steady: int | None = None
    restart: int | None = None
    fault: int | None = None
    surge: int | None
    room: int
    aliases: int = 1
    pooler: PoolerClients | None = None

    @property
    def by_situation(self) -> Mapping[str, int | None]:
        return {name: getattr(self, name) for name in SITUATIONS}

    @property
    def overdrawn(self) -> str:
        """What does not fit, in words; empty where all does."""
        if self.each is None:
            return f"without bound ({self.formula}), and there is room for {self.room}"
        for name, wanted in self.by_situation.items():
            if wanted is not None and wanted > self.room:
                aliases = f"; its {self.aliases} aliases in DATABASES are one server here" if self.aliases > 1 else ""
                return f"{wanted} connections for a room of {self.room} ({WORDS[name]}{aliases})"
        return "" if self.pooler is None else self.pooler.turned_away

    @property
    def bounded(self) -> bool:
        """Whether all situations fit whatever the number of clients."""
        return self.surge_fits and (self.pooler is None or self.pooler.bounded)

    @property
    def surge_fits(self) -> bool:
        """Whether the database has room for all situations whatever the number of clients."""
        return self.surge is not None and self.surge <= self.room

    def at_least(self, measured: int) -> "Budget":
        """The same where a host was seen to hold more than it should."""
        if self.each is None or measured <= self.each:
            return self
        seen = _situations(measured, self.hosts, behind_pooler=self.pooler is not None)
        words = f"{measured} were measured, more than the predicted {self.each} ({self.formula})"
        surge = None if self.surge is None else max(self.surge, *seen.values())
        return self.model_copy(update={"each": measured, "formula": words, "surge": surge, **seen})


def room_for(max_connections: int, reserved: int, headroom: float) -> int:
    """What is left for the app: less the database's own reserve, and less `headroom`, the share for others."""
    return int((max_connections - reserved) * (1 - headroom) + 1e-9)


def budget_of(
    prediction: Prediction,
    surge: Prediction,
    hosts: int,
    room: int,
    *,
    pooler: PoolerClients | None = None,
    aliases: int = 1,
) -> Budget:
    """`prediction` is one host's with the matrix's clients, `surge` with any number; a database without limit."""

    def situations(each: int | None) -> dict[str, int]:
        return {} if each is None else _situations(each, hosts, behind_pooler=pooler is not None)

    return Budget(
        hosts=hosts,
        each=prediction.max,
        formula=prediction.formula,
        surge=max(situations(surge.max).values(), default=None),
        room=room,
        aliases=aliases,
        pooler=pooler,
        **situations(prediction.max),
    )


def _situations(each: int, hosts: int, *, behind_pooler: bool) -> dict[str, int]:
    """What all hosts hold in each of SITUATIONS.

    A pooler, one on each host, is not restarted with the app, so that its connections to the database are no more while
    that is; its clients are twice as many (`PoolerClients`).
    """
    return {"steady": hosts * each, "restart": (hosts + (not behind_pooler)) * each, "fault": 2 * hosts * each}
