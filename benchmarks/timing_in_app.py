"""Runs in the app's own process: `timing_in_app.py PATH…` does things with the timings and without, in turns.

Prints `added`: the CPU seconds that the middleware and the wrapped methods add to a request, a statement and a
connection. Pages are too long to see it in them: `pages` has their own CPU seconds and how many statements they take.
Times are the fastest of many, as in timeit: what is added is always the same, what disturbs is not.
"""

import io
import json
import sys
from collections.abc import Callable
from functools import partial
from time import process_time
from typing import Any

import connbench_timing
from connbench_database import begin
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.test.utils import CaptureQueriesContext

ROUNDS = 60
BATCHES, BATCH = 10, 20
EMPTY = "/health/"

Methods = dict[tuple[type, str], Any]


def serve(application: Any, path: str) -> None:
    """One GET, as a server would have it answered, to the closing of the response."""
    place, _, query = path.partition("?")
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": place,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "wsgi.input": io.BytesIO(),
        "wsgi.url_scheme": "http",
    }
    statuses: list[str] = []
    response = application(environ, lambda status, _headers: statuses.append(status))
    for _ in response:
        pass
    response.close()
    assert statuses == ["200 OK"], (path, statuses)


def state() -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT 1")


def reconnect() -> None:
    connections["default"].close()
    connections["default"].ensure_connection()


def methods() -> Methods:
    """What may be wrapped, as it is now."""
    owners = (CursorWrapper, BaseDatabaseWrapper, *type(connections["default"]).__mro__)
    return {(owner, name): value for owner in owners for name, value in vars(owner).items() if callable(value)}


def switch(timing: str, found: Methods) -> None:
    connbench_timing.TIMING = timing
    for (owner, name), method in found.items():
        setattr(owner, name, method)


def fastest(action: Callable[[], None]) -> float:
    """CPU seconds of one, where batches of them went fastest."""
    batches = []
    for _ in range(BATCHES):
        started = process_time()
        for _ in range(BATCH):
            action()
        batches.append(process_time() - started)
    return min(batches) / BATCH


def page(application: Any, path: str) -> dict[str, float]:
    with CaptureQueriesContext(connections["default"]) as captured:
        serve(application, path)
    # Django forgets them when the next request starts.
    statements = len(captured)
    return {"seconds": fastest(partial(serve, application, path)), "statements": statements}


def main(paths: list[str]) -> dict[str, Any]:
    before = methods()
    application = get_wsgi_application()
    actions: dict[str, Callable[[], None]] = {
        "request": partial(serve, application, EMPTY),
        "statement": state,
        "connection": reconnect,
    }
    begin()
    for action in actions.values():
        action()
    after = methods()
    wrapped = {key for key in before if before[key] is not after[key]}
    assert wrapped, "nothing is wrapped"
    sets = {"full": {key: after[key] for key in wrapped}, "off": {key: before[key] for key in wrapped}}
    best = {timing: dict.fromkeys(actions, float("inf")) for timing in sets}
    for _ in range(ROUNDS):
        for timing, found in sets.items():
            switch(timing, found)
            for name, action in actions.items():
                best[timing][name] = min(best[timing][name], fastest(action))
    added = {name: best["full"][name] - best["off"][name] for name in actions}
    return {"added": added, "pages": {path: page(application, path) for path in paths}}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
