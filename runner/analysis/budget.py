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


class Budget(Strict):
    """Connections of all hosts together; `room` is what they may be. None: nothing bounds them.

    `each` is what one host holds with the matrix's number of clients, by `formula`; `surge` what all hosts hold if any
    number of clients come.
    """

    hosts: int
    each: int | None
    formula: str
    steady: int | None
    restart: int | None
    fault: int | None
    surge: int | None
    room: int

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
                return f"{wanted} connections for a room of {self.room} ({WORDS[name]})"
        return ""

    @property
    def bounded(self) -> bool:
        """Whether it fits whatever the number of clients."""
        return self.surge is not None and self.surge <= self.room

    def at_least(self, measured: int) -> "Budget":
        """The same where a host was seen to hold more than it should."""
        if self.each is None or measured <= self.each:
            return self
        words = f"{measured} were measured, more than the predicted {self.each} ({self.formula})"
        behind_pooler = self.restart == self.steady
        return _of(measured, words, self.surge, self.hosts, self.room, behind_pooler=behind_pooler)


def room_for(max_connections: int, reserved: int, headroom: float) -> int:
    """What is left for the app: less the database's own reserve, and less `headroom`, the share for others."""
    return int((max_connections - reserved) * (1 - headroom) + 1e-9)


def budget_of(prediction: Prediction, surge: Prediction, hosts: int, room: int, *, behind_pooler: bool) -> Budget:
    """`prediction` is one host's with the matrix's clients, `surge` with any number; both of a database without limit.

    A pooler, one on each host, is not restarted with the app, so that its connections are no more while that is.
    """
    most = None if surge.max is None else surge.max * hosts
    return _of(prediction.max, prediction.formula, most, hosts, room, behind_pooler=behind_pooler)


def _of(each: int | None, formula: str, surge: int | None, hosts: int, room: int, *, behind_pooler: bool) -> Budget:
    def times(factor: int) -> int | None:
        return None if each is None else each * factor

    return Budget(
        hosts=hosts,
        each=each,
        formula=formula,
        steady=times(hosts),
        restart=times(hosts if behind_pooler else hosts + 1),
        fault=times(2 * hosts),
        surge=surge,
        room=room,
    )
