"""How many connections a cell should hold, from its parameters alone, and whether it did.

Bounds are meant to hold always, not most of the time: where the kernel or the scheduler decides, they are
wide and the formula says what is typical. What clients hold is predicted: a PostgreSQL backend that is still
ending after its client has gone does not count.
"""

import math
from dataclasses import dataclass, replace

from runner.matrix.cells import Cell, Prediction
from runner.matrix.phased_prediction import with_phases
from runner.matrix.pooling import behind_pooler
from runner.matrix.replicas import with_replicas
from runner.stacks.databases import DatabaseSpec
from runner.stacks.databases.base import HARNESS_SESSIONS
from runner.stacks.drivers import DRIVERS
from runner.stacks.pools import Demand, PoolSpec
from runner.stacks.servers.base import Context
from runner.stacks.servers.gunicorn import GunicornSpec

# superuser_reserved_connections, PostgreSQL's default. MySQL's extra one comes on top of max_connections.
RESERVED = {"postgres": 3}
# The harness checks an app as one client before the load; where every client has its own connection, it leaves one. A
# streamed answer of unknown length may end its client connection (runserver's does), so that it leaves another.
CHECKING_CLIENTS = 2

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
    at = _Situation.of(cell)
    if cell.connection.pool is not None:
        prediction = _pooled(at, cell.connection.pool, persistent=cell.connection.conn_max_age != 0)
    elif cell.connection.conn_max_age == 0:
        prediction = _per_request(at, blocking=_blocks(cell))
    elif cell.server.threads_per_process is not None:
        prediction = _kept_by_threads(at, cell.server.threads_per_process)
    elif at.context == "client" and at.kept_alive:
        prediction = _kept_by_clients(at, checks)
    else:
        prediction = _kept_by_nobody("greenlet" if cell.server.cooperative else "thread")
    own = (_with_start, _with_replaced_workers, _with_fork, _with_late_patch, with_replicas)
    for further in (*own, _with_pooler, _closed_when_idle, with_phases):
        prediction = further(prediction, cell)
    return _within(prediction, usable_connections(cell.database))


def usable_connections(database: DatabaseSpec) -> int:
    """How many connections the database lets ordinary users have, all of them together."""
    # On a server of the run's own the harness's sessions come on top.
    harness = HARNESS_SESSIONS + 1 if database.hosted else 0
    return database.max_connections - RESERVED.get(database.engine, 0) - harness


def as_predicted(
    prediction: Prediction, peak: int, opened: int, database_requests: int, lingering: int
) -> tuple[bool, str]:
    """Whether measured counts are within the prediction, and in words what is not.

    `opened` and `database_requests` (those that touch the database) cover the same stretch.
    """
    outside = [
        _outside("peak", peak, prediction.min, prediction.max),
        _outside("opened", opened, 0, _most_opened(prediction, database_requests)),
        _outside("lingering", lingering, prediction.lingering_min, prediction.lingering_max),
        _outside_per_request(prediction, opened, database_requests),
    ]
    words = [text for text in outside if text]
    return not words, "; ".join(words) or "as predicted"


def _most_opened(prediction: Prediction, requests: int) -> int | None:
    if prediction.opened_max is None:
        return None
    return prediction.opened_max + math.ceil(prediction.opened_more_per_request * requests)


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
    context: Context
    #: Requests at once in one process: its threads, or the clients that it takes; None where nothing limits them.
    room: int | None
    room_words: str
    users: int
    kept_alive: bool
    #: How often a connection is opened in one place during an attempt: more than once where it grows too old.
    generations: int
    #: How long the attempt's counted part lasts.
    seconds: float
    #: How many client connections one user may need: more than one where an idle client is dropped.
    returns: int

    @classmethod
    def of(cls, cell: Cell) -> "_Situation":
        server = cell.server
        processes, threads = server.process_count, server.threads_per_process
        room = threads or server.client_limit
        words = _count(processes, "process", "processes")
        if threads is None and room is not None:
            words += f" × {_count(room, 'client', 'clients')} = {processes * room}"
        elif threads is not None and threads > 1:
            words += f" × {threads} threads = {processes * threads}"
        return cls(
            processes=processes,
            context=server.context,
            room=room,
            room_words=words,
            users=cell.load.users,
            kept_alive=cell.client_keep_alive,
            generations=_generations(cell),
            seconds=_seconds(cell),
            returns=_returns(cell),
        )

    @property
    def places(self) -> float:
        return math.inf if self.room is None else self.processes * self.room

    @property
    def requests(self) -> int:
        """Requests at once as the connections see them.

        A client has its answer before Django closes the connection. Kept alive it waits for that, since its
        next request is read only afterwards; on a new client connection it may be served elsewhere meanwhile, and
        so it may under ASGI, where each request is a task of its own.
        """
        return self.users if self._waits_for_closing else 2 * self.users

    @property
    def _waits_for_closing(self) -> bool:
        return self.kept_alive and self.context != "request"

    @property
    def requests_words(self) -> str:
        clients = _count(self.users, "client", "clients")
        return (
            clients
            if self._waits_for_closing
            else f"{clients} × 2 (the last request's may still be closing) = {self.requests}"
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
    return cell.planned_seconds if cell.phases else cell.load.count + cell.load.idle


def _generations(cell: Cell) -> int:
    age, seconds = cell.connection.conn_max_age, _seconds(cell)
    return 1 if age is None or age == 0 or age > seconds else 1 + math.ceil(seconds / age)


def _returns(cell: Cell) -> int:
    """In the closed model a user has no pause; in the open one each may be the one that is not needed for a while."""
    keep_alive = cell.server.keep_alive_seconds
    if cell.load.model == "closed" or not keep_alive:
        return 1
    return 1 + math.floor(cell.load.count / keep_alive)


def _blocks(cell: Cell) -> bool:
    green = isinstance(cell.server, GunicornSpec) and cell.server.psycogreen
    return cell.server.cooperative and not DRIVERS[cell.database.driver].yields and not green


def _per_request(at: _Situation, *, blocking: bool) -> Prediction:
    most = int(min(at.places, at.requests))
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
        max=at.processes * threads,
        formula=f"{at.room_words}, {each}{at.idle_workers}",
        opened_per_request=None,
        opened_max=at.processes * threads * at.generations,
        lingering_min=least if at.generations == 1 else 0,
        lingering_max=at.processes * threads,
    )


def _kept_by_nobody(whose: str) -> Prediction:
    """Nothing comes back to the connection of a greenlet or thread that lived for one request."""
    return Prediction(
        min=1,
        max=None,
        formula=f"without bound: each request's {whose} leaves a connection until garbage collection",
        opened_per_request=1.0,
        opened_max=None,
        lingering_min=0,
        lingering_max=None,
    )


def _kept_by_clients(at: _Situation, checks: int) -> Prediction:
    """A greenlet or thread lives as long as its client connection; what it leaves waits for garbage collection."""
    clients = int(min(at.users, at.places)) * at.returns
    words = _count(at.users, "client", "clients") + " kept alive" if at.users <= at.places else at.room_words
    if at.returns > 1:
        words += f" × {at.returns} (an idle one is dropped, and its connection waits for garbage collection)"
    left = f" + {checks} that the harness's checks may leave" if checks else ""
    return Prediction(
        min=1,
        max=clients + checks,
        formula=f"{words}, each keeps its own{left}",
        opened_per_request=None,
        opened_max=clients * at.generations + checks,
        # Clients leave when the load ends, or are dropped when idle, and their connections may go with them.
        lingering_min=0,
        lingering_max=clients + checks,
    )


def _pooled(at: _Situation, pool: PoolSpec, *, persistent: bool) -> Prediction:
    """Every process has a pool of its own, filled by the requests that are in it at once."""
    few = at.room is None or at.requests < at.room
    at_once = at.requests if at.room is None else min(at.room, at.requests)
    one = pool.bounds(Demand(at_once, "requests" if few else "threads", at.seconds, persistent))
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


def _with_pooler(prediction: Prediction, cell: Cell) -> Prediction:
    return prediction if cell.pooler is None else behind_pooler(prediction, cell.pooler, cell.load.idle)


def _closed_when_idle(prediction: Prediction, cell: Cell) -> Prediction:
    """The prediction where the database closes connections that are idle for too long."""
    limit, seconds = cell.database.idle_limit, _seconds(cell)
    if limit is None or limit > seconds or prediction.lingering_max == 0:
        return prediction
    gone = not cell.phases and cell.load.idle >= limit + IDLE_SLACK
    lived = 1 + math.ceil(seconds / limit)
    return replace(
        prediction,
        min=1,
        opened_max=None if prediction.opened_max is None else prediction.opened_max * lived,
        lingering_min=0,
        lingering_max=0 if gone else prediction.lingering_max,
        formula=f"{prediction.formula}; the database closes what is idle for {limit:g} s",
    )


def _with_start(prediction: Prediction, cell: Cell) -> Prediction:
    """What the server opens before it serves, and closes again."""
    more = cell.server.opened_at_start
    if not more or cell.connection.pool is not None or prediction.opened_max is None:
        return prediction
    words = f"{prediction.formula}; {more} more opened and closed at the start"
    return replace(prediction, opened_max=prediction.opened_max + more, formula=words)


def _with_replaced_workers(prediction: Prediction, cell: Cell) -> Prediction:
    """A worker that is replaced takes its connections along, and the next one opens its own.

    At any moment some workers may be new. The harness's own requests count too, so that each worker may be
    replaced once more than the load makes it.
    """
    requests = cell.server.requests_per_worker
    if requests is None and not cell.server.kills_slow_requests:
        return prediction
    if requests is not None:
        words = f"; a worker is replaced after {requests} requests or more, and its connections with it"
    else:
        words = "; a request that takes too long costs its worker its life, and its connections theirs"
    if cell.server.context == "client" and cell.connection.pool is None and cell.connection.conn_max_age != 0:
        # It closes after each answer from then on, so that each request's greenlet leaves a connection.
        words += "; until it is, without bound: it keeps no client alive any more"
        prediction = replace(prediction, max=None, opened_per_request=None, opened_max=None, lingering_max=None)
    known = requests is not None and prediction.opened_max is not None and prediction.max is not None
    each = math.ceil((prediction.max or 0) / cell.server.process_count)
    return replace(
        prediction,
        min=min(1, prediction.min),
        formula=prediction.formula + words,
        opened_max=2 * prediction.opened_max if known and prediction.opened_max is not None else None,
        opened_more_per_request=each / requests if known and requests is not None else 0.0,
        lingering_min=0,
    )


def _with_fork(prediction: Prediction, cell: Cell) -> Prediction:
    """What the app has opened before the fork belongs to all workers at once.

    A connection is the main thread's, and only where that serves requests do workers take each other's answers for
    their own.
    """
    if not cell.server.opens_before_fork:
        return prediction
    workers = _count(cell.server.process_count, "process", "processes")
    pool = cell.connection.pool
    if pool is not None:
        return _pool_of_all(prediction, pool.bounds(Demand(1, "request", _seconds(cell))).most, workers, pool)
    shared = cell.connection.conn_max_age != 0 and cell.server.serves_in_main_thread
    words = f"; one more opened before the fork{f' and shared by {workers}' if shared else ''}"
    return replace(
        prediction,
        min=0 if shared else prediction.min,
        max=None if prediction.max is None else prediction.max + 1,
        formula=prediction.formula + words,
        opened_max=None if prediction.opened_max is None else prediction.opened_max + 1,
        lingering_min=0 if shared else prediction.lingering_min,
        lingering_max=None if prediction.lingering_max is None else prediction.lingering_max + 1,
        broken="a connection was opened before the fork" if shared else "",
    )


def _pool_of_all(prediction: Prediction, opened: int, workers: str, pool: PoolSpec) -> Prediction:
    """A pool's own threads do not live on in a fork: one that needs them can neither grow nor mend itself there."""
    more = 0 if pool.opens_in_threads else prediction.max
    most = None if more is None else opened + more
    return replace(
        prediction,
        min=0,
        max=most,
        formula=f"{opened} in a pool opened before the fork, shared by {workers} which take each other's answers",
        opened_max=most if pool.opens_in_threads else None,
        lingering_min=0,
        lingering_max=most,
        broken="the pool was opened before the fork",
    )


def _with_late_patch(prediction: Prediction, cell: Cell) -> Prediction:
    """Django has then stored its connections by real thread, and refuses them to each greenlet but the first."""
    if not cell.server.patched_too_late:
        return prediction
    return replace(
        prediction,
        min=0,
        formula="any number, since nearly every request fails: greenlets came after Django was imported",
        opened_per_request=None,
        opened_max=None,
        opened_more_per_request=0.0,
        lingering_min=0,
        lingering_max=prediction.max,
        broken="Django was imported before its threads were made greenlets",
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
