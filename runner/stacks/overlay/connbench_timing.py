"""The timing middleware: says with each answer which worker gave it, how long Django took, and on what.

Runs inside the app's environment. The header is `Server-Timing: app;dur=<ms>, pool;dur=<ms>, connect;dur=<ms>,
sql;dur=<ms>, opened;desc=<connections>, worker;desc=<pid>.<thread>`; the thread is a greenlet under gevent. `app` is
all of Django and holds the other three. With `timing: app` the parts are left out, with `timing: off` the worker is
all there is. Closing a connection after the answer (`CONN_MAX_AGE` 0) is not in it: Django does that when the answer
has left. A request that carries the harness's probe mark is also told the token of this start, so that a foreign
server on the same port is never taken for ours.
"""

import json
import os
from collections.abc import Callable
from threading import get_ident
from time import perf_counter

from connbench_database import begin, watch
from django.http import HttpRequest, HttpResponse

_overlay = json.loads(os.environ["CONNBENCH_OVERLAY"])
TOKEN: str = _overlay["token"]
PROBE: str = _overlay["probe"]
TIMING: str = _overlay["timing"]


class TimingMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        if TIMING == "full":
            watch(pooled=_overlay["process"]["pooled"])

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = perf_counter()
        spent = begin() if TIMING == "full" else None
        response = self.get_response(request)
        report = f"worker;desc={os.getpid()}.{get_ident()}"
        if spent is not None:
            report = f"{spent}, {report}"
        if TIMING != "off":
            report = f"app;dur={(perf_counter() - started) * 1000:.3f}, {report}"
        response["Server-Timing"] = report
        if PROBE in request.META["QUERY_STRING"]:
            response["X-Connbench-Token"] = TOKEN
        return response
