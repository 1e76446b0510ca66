"""The timing middleware: says with each answer which worker gave it and how long Django took.

Runs inside the app's environment. `Server-Timing: app;dur=<ms>, worker;desc=<pid>.<thread>`; the thread is a
greenlet under gevent. Closing a connection after the answer (`CONN_MAX_AGE` 0) is not in it: Django does that
when the answer has left. A request that carries the harness's probe mark is also told the token of this start, so
that a foreign server on the same port is never taken for ours.
"""

import json
import os
from collections.abc import Callable
from threading import get_ident
from time import perf_counter

from django.http import HttpRequest, HttpResponse

_overlay = json.loads(os.environ["CONNBENCH_OVERLAY"])
TOKEN: str = _overlay["token"]
PROBE: str = _overlay["probe"]


class TimingMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = perf_counter()
        response = self.get_response(request)
        milliseconds = (perf_counter() - started) * 1000
        response["Server-Timing"] = f"app;dur={milliseconds:.3f}, worker;desc={os.getpid()}.{get_ident()}"
        if PROBE in request.META["QUERY_STRING"]:
            response["X-Connbench-Token"] = TOKEN
        return response
