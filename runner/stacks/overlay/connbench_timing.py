"""The timing middleware: says with each answer which worker gave it, how long Django took, and on what.

Runs inside the app's environment. The header is `Server-Timing: app;dur=<ms>, pool;dur=<ms>, connect;dur=<ms>,
sql;dur=<ms>, opened;desc=<connections>, worker;desc=<pid>.<thread>`; the thread is a greenlet under gevent, and the
event loop's where the app's handlers are asynchronous. `app` is all of Django and holds the other three. With
`timing: app` the parts are left out, with `timing: off` the worker is all there is. Closing a connection after the
answer (`CONN_MAX_AGE` 0) is not in it: Django does that when the answer has left. A request that carries the harness's
probe mark is also told the token of this start, so that a foreign server on the same port is never taken for ours.
"""

import json
import os
from collections.abc import Callable
from inspect import iscoroutinefunction
from threading import get_ident
from time import perf_counter
from typing import Any

from connbench_database import Spent, begin, watch
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

_overlay = json.loads(os.environ["CONNBENCH_OVERLAY"])
TOKEN: str = _overlay["token"]
PROBE: str = _overlay["probe"]
TIMING: str = _overlay["timing"]


@sync_and_async_middleware  # type: ignore[untyped-decorator]  # Django is in the app's environment alone
def timing_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Of the kind that the handler below it is: a synchronous one would give each request of an ASGI app a thread."""
    if TIMING == "full":
        watch(pooled=_overlay["process"]["pooled"])
    if not iscoroutinefunction(get_response):

        def answer(request: HttpRequest) -> HttpResponse:
            began = _begin()
            return _reported(request, get_response(request), *began)

        return answer

    async def answer_asynchronously(request: HttpRequest) -> HttpResponse:
        began = _begin()
        return _reported(request, await get_response(request), *began)

    return answer_asynchronously


def _begin() -> tuple[float, Spent | None]:
    return perf_counter(), begin() if TIMING == "full" else None


def _reported(request: HttpRequest, response: HttpResponse, started: float, spent: Spent | None) -> HttpResponse:
    report = f"worker;desc={os.getpid()}.{get_ident()}"
    if spent is not None:
        report = f"{spent}, {report}"
    if TIMING != "off":
        report = f"app;dur={(perf_counter() - started) * 1000:.3f}, {report}"
    response["Server-Timing"] = report
    if PROBE in request.META["QUERY_STRING"]:
        response["X-Connbench-Token"] = TOKEN
    return response
