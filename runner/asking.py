"""Asking a database server something: at most so long, and with every way in which it can fail in words."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from runner import waiting
from runner.errors import DatabaseLost, StackError
from runner.stacks.databases.base import Database


@contextmanager
def asking(database: Database, what: str) -> Iterator[Database]:
    """What is inside asks the database for `what`; within `waiting.DATABASE_REPLY` seconds it has its answer or fails.

    A server that does not answer is ended: nothing else frees whoever waits for it, here or in an app. DatabaseLost
    where the server is of no more use, StackError where it refused this one thing.
    """
    stuck = threading.Event()
    late = f"did not answer within {waiting.DATABASE_REPLY:.0f} s ({what})"

    def give_up() -> None:
        stuck.set()
        database.service.stop()

    failures: tuple[type[Exception], ...] = (*database.driver_errors, StackError)
    timer = threading.Timer(waiting.DATABASE_REPLY, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield database
    except failures as error:
        if stuck.is_set():
            raise DatabaseLost(_words(database, f"{late} and {database.given_up}")) from error
        if not database.service.alive():
            raise DatabaseLost(_words(database, f"has ended ({what}: {_first_line(error)})")) from error
        if isinstance(error, StackError):
            raise
        if database.is_cut(error):
            raise DatabaseLost(_words(database, f"has cut us off ({what}: {_first_line(error)})")) from error
        raise StackError(_words(database, f"could not do it ({what}: {_first_line(error)})")) from error
    else:
        if stuck.is_set():  # it answered in the moment in which it was given up
            raise DatabaseLost(_words(database, f"{late} and {database.given_up}"))
    finally:
        timer.cancel()


def refuse_if_lost(database: Database, when: str) -> None:
    """DatabaseLost where the server has ended by itself."""
    if not database.service.alive():
        raise DatabaseLost(_words(database, f"has ended {when}"))


def _words(database: Database, happened: str) -> str:
    return f"{database.product} {happened}; its log ends:\n{database.service.log_tail()}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
