"""How many connections a cell should hold, from its parameters alone, and whether it did.

Bounds are meant to hold always, not most of the time: where the kernel or the scheduler decides, they are
wide and the formula says what is typical. What clients hold is predicted: a PostgreSQL backend that is still
ending after its client has gone does not count.
"""

import math
from dataclasses import dataclass, replace

from runner.matrix.cells import Cell, Prediction
from runner.stacks.databases import DatabaseSpec
from runner.stacks.drivers import DRIVERS
from runner.stacks.pools import Demand, PoolSpec
from runner.stacks.servers.gunicorn import GunicornSpec

# superuser_reserved_connections, PostgreSQL's default. MySQL's extra one comes on top of max_connections.
RESERVED = {"postgres": 3}
# The harness checks an app as one client before the load; where every client has its own connection, it leaves one.
CHECKING_CLIENTS = 1

# Requests in flight when the load stops are counted on one side only: one in a hundred, at the least two.
OPENED_TOLERANCE = 0.01
OPENED_SLACK = 2
# Seconds in which a server surely notices that a connection has been idle for long enough.
IDLE_SLACK = 1.0


def predict(cell: Cell, checks: int = CHECKING_CLIENTS) -> Prediction:
    """The connections that `cell` should hold.

    `checks` is how many requests of the harness's own touch the database before the load, each on a client
    connection of its own: under gevent they leave connections behind.
    """
    if cell.connection.pool is not None:
        prediction = _pooled(_Situation.of(cell), cell.connection.pool, persistent=cell.connection.conn_max_age != 0)
    elif cell.connection.conn_max_age == 0:
        prediction = _per_request(_Situation.of(cell), blocking=_blocks(cell))
    elif cell.server.threads_per_process is None:
        prediction = _kept_by_greenlets(_Situation.of(cell), checks)
    else:
        prediction = _kept_by_threads(_Situation.of(cell), cell.server.threads_per_process)
    return _within(_closed_when_idle(prediction, cell), usable_connections(cell.database))


def usable_connections(database: DatabaseSpec) -> int:
    """How many connections the database lets ordinary users have, all of them together."""
    return database.max_connections - RESERVED.get(database.engine, 0)


def as_predicted(
    prediction: Prediction, peak: int, opened: int, database_requests: int, lingering: int
) -> tuple[bool, str]:
    """Whether measured counts are within the prediction, and in words what is not.

    `opened` and `database_requests` (those that touch the database) cover the same stretch.
    """
    outside = [
        _outside("peak", peak, prediction.min, prediction.max),
        _outside("opened", opened, 0, prediction.opened_max),
        _outside("lingering", lingering, prediction.lingering_min, prediction.lingering_max),
        _outside_per_request(prediction, opened, database_requests),
    ]
    words = [text for text in outside if text]
    return not words, "; ".join(words) or "as predicted"


def _outside(name: str, value: int, least: int, most: int | None) -> str:
    if value < least:
        return f"{name} {value} is below {least}"
    return f"{name} {value} is above {most}" if most is not None and value > most else ""


def _outside_per_request(prediction: Prediction, opened: int, requests: int) -> str:
    if prediction.opened_per_request is None:
        return ""
    expected = prediction.opened_per_request * requests
    slack = max(OPENED_SLACK, OPENED_TOLERANCE * expected)
    # A refused connection is no opened one, though its request asked for it.
    least = 0 if prediction.refusals else expected - slack
    if least <= opened <= expected + slack:
        return ""
    return f"opened {opened} for {requests} requests is not {prediction.opened_per_request:g} each"


@dataclass(frozen=True)
class _Situation:
    """What bounds the requests that are in an app server at once."""

    processes: int
    #: Requests at once in one process: its threads, or the clients that a gevent worker takes.
    room: int
    room_words: str
    users: int
    kept_alive: bool
    #: How often a connection is opened in one place during an attempt: more than once where it grows too old.
    generations: int
    #: How long the attempt's counted part lasts.
    seconds: float

    @classmethod
    def of(cls, cell: Cell) -> "_Situation":
        processes, threads = cell.server.process_count, cell.server.threads_per_process
        room = threads or cell.server.client_limit or 1
        words = _count(processes, "process", "processes")
        if threads is None:
            words += f" × {_count(room, 'client', 'clients')} = {processes * room}"
        elif threads > 1:
            words += f" × {threads} threads = {processes * room}"
        return cls(processes, room, words, cell.load.users, cell.client_keep_alive, _generations(cell), _seconds(cell))

    @property
    def places(self) -> int:
        return self.processes * self.room

    @property
    def requests(self) -> int:
        """Requests at once as the connections see them.

        A client has its answer before Django closes the connection. Kept alive it waits for that, since its
        next request is read only afterwards; on a new client connection it may be served elsewhere meanwhile.
        """
        return self.users if self.kept_alive else 2 * self.users

    @property
    def requests_words(self) -> str:
        clients = _count(self.users, "client", "clients")
        return (
            clients if self.kept_alive else f"{clients} × 2 (the last request's may still be closing) = {self.requests}"
        )

    @property
    def touched(self) -> int:
        """Processes that the load surely reaches.

        Clients that are kept alive stay with the worker that took them; others reach all workers once there
        are as many as places.
        """
        return self.processes if not self.kept_alive and self.users >= self.places else 1

    @property
    def idle_workers(self) -> str:
        return "" if self.touched == self.processes else "; fewer where workers get no client"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _seconds(cell: Cell) -> float:
    return cell.load.count + cell.load.idle


def _generations(cell: Cell) -> int:
    age, seconds = cell.connection.conn_max_age, _seconds(cell)
    return 1 if age is None or age == 0 or age > seconds else 1 + math.ceil(seconds / age)


def _blocks(cell: Cell) -> bool:
    green = isinstance(cell.server, GunicornSpec) and cell.server.psycogreen
    return cell.server.cooperative and not DRIVERS[cell.database.driver].yields and not green


def _per_request(at: _Situation, *, blocking: bool) -> Prediction:
    most = min(at.places, at.requests)
    formula = f"{at.room_words if at.places <= at.requests else at.requests_words}, only while a request lasts"
    if blocking:
        # A worker goes on to another greenlet only where one waits for its client, as with a long answer.
        formula += f"; about {at.processes}, since a query blocks its whole worker"
    return Prediction(
        min=1,
        max=most,
        formula=formula,
        opened_per_request=1.0,
        opened_max=None,
        lingering_min=0,
        lingering_max=0,
    )


def _kept_by_threads(at: _Situation, threads: int) -> Prediction:
    # A connection that grows too old is closed after its request, so one instant may find any number of them.
    least = at.touched if at.generations == 1 else 1
    each = "each thread keeps its own" if threads > 1 else "each keeps its own"
    return Prediction(
        min=least,
        max=at.places,
        formula=f"{at.room_words}, {each}{at.idle_workers}",
        opened_per_request=None,
        opened_max=at.places * at.generations,
        lingering_min=least if at.generations == 1 else 0,
        lingering_max=at.places,
    )


def _kept_by_greenlets(at: _Situation, checks: int) -> Prediction:
    """A greenlet lives as long as its client connection; what it leaves waits for garbage collection."""
    if not at.kept_alive:
        return Prediction(
            min=1,
            max=None,
            formula="without bound: each request's greenlet leaves a connection until garbage collection",
            opened_per_request=1.0,
            opened_max=None,
            lingering_min=0,
            lingering_max=None,
        )
    clients = min(at.users, at.places)
    words = _count(at.users, "client", "clients") + " kept alive" if at.users <= at.places else at.room_words
    left = f" + {checks} that the harness's checks may leave" if checks else ""
    return Prediction(
        min=1,
        max=clients + checks,
        formula=f"{words}, each keeps its own{left}",
        opened_per_request=None,
        opened_max=clients * at.generations + checks,
        # gunicorn drops clients after 2 s without a request, and their connections go with them.
        lingering_min=0,
        lingering_max=clients + checks,
    )


def _pooled(at: _Situation, pool: PoolSpec, *, persistent: bool) -> Prediction:
    """Every process has a pool of its own, filled by the requests that are in it at once."""
    noun = "requests" if at.requests < at.room else "threads"
    one = pool.bounds(Demand(min(at.room, at.requests), noun, at.seconds, persistent))
    least, most, kept = at.touched * one.least, at.processes * one.most, at.processes * one.kept
    return Prediction(
        min=least,
        max=most,
        formula=f"{_count(at.processes, 'process', 'processes')} × {one.words} = {most}{at.idle_workers}",
        opened_per_request=None,
        opened_max=None if one.opened is None else at.processes * one.opened,
        lingering_min=at.touched * one.kept_least,
        lingering_max=kept,
    )


def _closed_when_idle(prediction: Prediction, cell: Cell) -> Prediction:
    """The prediction where the database closes connections that are idle for too long."""
    limit, seconds = cell.database.idle_limit, _seconds(cell)
    if limit is None or limit > seconds:
        return prediction
    gone = cell.load.idle >= limit + IDLE_SLACK
    lived = 1 + math.ceil(seconds / limit)
    return replace(
        prediction,
        min=1,
        opened_max=None if prediction.opened_max is None else prediction.opened_max * lived,
        lingering_min=0,
        lingering_max=0 if gone else prediction.lingering_max,
        formula=f"{prediction.formula}; the database closes what is idle for {limit:g} s",
    )


def _within(prediction: Prediction, usable: int) -> Prediction:
    """The prediction under what the database lets in."""
    if prediction.max is not None and prediction.max <= usable:
        return prediction
    limit = f"; the database lets in {usable} and refuses the rest"
    return replace(
        prediction,
        min=min(prediction.min, usable),
        max=None if prediction.max is None else usable,
        formula=prediction.formula + limit,
        lingering_min=0,
        lingering_max=None if prediction.lingering_max is None else min(prediction.lingering_max, usable),
        refusals=True,
    )
