"""What a request spends on its database: getting a connection, and waiting for statements.

Runs inside the app's environment. Django's own methods are wrapped, those of the drivers never are, so that
psycopg 2 and 3, mysqlclient and SQLite are all seen alike; nothing is imported that Django has not imported by
then, and no connection is opened. The figures of a request hang on a context variable, which threads, greenlets
and tasks each have for themselves.
"""

from collections.abc import Callable
from contextvars import ContextVar
from functools import partial, wraps
from threading import Lock
from time import perf_counter
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

#: Methods that wait for the database and call none of the others. A statement's rows are fetched with it, unless
#: the cursor is the server's (`.iterator()`): its further rows count as the app's time.
STATEMENTS = (
    (CursorWrapper, ("execute", "executemany", "callproc")),
    (BaseDatabaseWrapper, ("_commit", "_rollback")),
)
#: Methods that wait for the database too, and that each backend has of its own.
OF_BACKENDS = ("_set_autocommit", "is_usable")


class Spent:
    """Seconds of one request so far, and the connections that it opened itself.

    `pool` is getting a connection of a pool. Django's native one opens its own in threads of its own: a request
    that waits for that waits for the pool, and has opened none; nor is one counted where another pool opens it.
    """

    __slots__ = ("connect", "opened", "pool", "sql")

    def __init__(self) -> None:
        self.pool = self.connect = self.sql = 0.0
        self.opened = 0

    def __str__(self) -> str:
        """As Server-Timing has it."""
        return (
            f"pool;dur={self.pool * 1000:.3f}, connect;dur={self.connect * 1000:.3f}, "
            f"sql;dur={self.sql * 1000:.3f}, opened;desc={self.opened}"
        )


_current: ContextVar[Spent | None] = ContextVar("connbench_spent", default=None)
_watched: set[tuple[type, str]] = set()
_known: set[type] = set()
_lock = Lock()


def begin() -> Spent:
    """A new request in this context; what an earlier one left behind is no longer added to."""
    spent = Spent()
    _current.set(spent)
    return spent


def watch(*, pooled: bool) -> None:
    """Wraps what all backends share; a backend's own methods follow when it first connects."""
    with _lock:
        for owner, names in STATEMENTS:
            for name in names:
                _wrap(owner, name, _statement)
        _wrap(BaseDatabaseWrapper, "connect", partial(_connecting, pooled=pooled))


def _watch_backend(backend: type) -> None:
    with _lock:
        for name in OF_BACKENDS:
            # Where it is defined: a backend that is built upon another one shares the other's.
            owner = next(kind for kind in backend.__mro__ if name in vars(kind))
            _wrap(owner, name, _statement)
        _known.add(backend)


def _wrap(owner: type, name: str, how: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    if (owner, name) not in _watched:
        setattr(owner, name, how(vars(owner)[name]))
        _watched.add((owner, name))


def _statement(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def timed(*args: Any, **more: Any) -> Any:
        spent = _current.get()
        if spent is None:
            return original(*args, **more)
        started = perf_counter()
        try:
            return original(*args, **more)
        finally:
            spent.sql += perf_counter() - started

    return timed


def _connecting(original: Callable[[Any], None], *, pooled: bool) -> Callable[[Any], None]:
    @wraps(original)
    def connect(wrapper: Any) -> None:
        if type(wrapper) not in _known:
            _watch_backend(type(wrapper))
        spent = _current.get()
        if spent is None:
            return original(wrapper)
        sql, started = spent.sql, perf_counter()
        try:
            return original(wrapper)
        finally:
            seconds = perf_counter() - started
            # The statements with which a session is set up are part of opening it.
            spent.sql = sql
            if pooled:
                spent.pool += seconds
            else:
                spent.connect += seconds
                spent.opened += wrapper.connection is not None

    return connect
