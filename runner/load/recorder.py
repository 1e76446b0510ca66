"""Every request, raw: what Locust's own statistics would round, mix with failures, or lose at a stop.

Lives in Locust's process, so it imports nothing heavy. One fixed-size record a request, appended to a buffer
and written out whenever the load stands idle; the names that records point to are in a small file beside.
"""

import json
import struct
from pathlib import Path
from time import monotonic
from typing import Any

#: window, endpoint, status, error, worker pid, thread, start and intended start (monotonic seconds), service time,
#: and of it app, pool, connect and SQL (milliseconds), connections opened.
RECORD = struct.Struct("<hhhhiQddfffffh")
#: The window number of requests made during the count.
COUNT_WINDOW = -1
#: Where the app said nothing.
NO_TIMING = -1.0
NO_COUNT = -1
#: What `server_timing` would say of an answer without the header.
UNTIMED = (0, 0, NO_TIMING, NO_TIMING, NO_TIMING, NO_TIMING, NO_COUNT)
EXAMPLE_LENGTH = 500


class Recorder:
    """Listens to Locust's `request` event. `window` is set by whoever drives."""

    def __init__(self, path: Path) -> None:
        self.window = COUNT_WINDOW
        self.recorded = 0
        self.failed = 0
        #: What went wrong inside the listener: Locust swallows a listener's exceptions.
        self.faults: list[str] = []
        #: Moments at which requests were answered in this stretch, for judging whether the rate is steady.
        self.answered_at: list[float] = []
        self.workers: set[int] = set()
        self._endpoints: dict[str, int] = {}
        self._errors: dict[str, int] = {}
        self._examples: list[str] = []
        self._buffer = bytearray()
        self._path = path
        path.write_bytes(b"")

    def on_request(
        self, request_type: str, name: str, response_time: float, response: Any, exception: Any, **more: Any
    ) -> None:
        """Locust's `request` event: a request of a user class of Locust's own."""
        try:
            status = getattr(response, "status_code", 0) or 0
            headers = getattr(response, "headers", None)
            timing = (headers.get("server-timing") if headers is not None else None) or ""
            failed = exception is not None or status >= 400
            text = (getattr(response, "text", None) or "") if failed and status else ""
            due = (more.get("context") or {}).get("due")
            self.add(f"{request_type} {name}", status, response_time, timing, exception, text, due)
        except Exception as error:  # noqa: BLE001  Locust would swallow it, and the request with it
            self.faults.append(repr(error))

    def add(
        self,
        endpoint: str,
        status: int,
        milliseconds: float,
        timing: str,
        exception: Any = None,
        text: str = "",
        due: float | None = None,
    ) -> None:
        """One request that ended now. `timing` is its Server-Timing header, `text` the body of a failure.

        `due` is when it should have left (monotonic); in the closed model that is when it left.
        """
        ended = monotonic()
        started = ended - milliseconds / 1000
        worker, thread, *spent = server_timing(timing) if timing else UNTIMED
        error = -1
        if exception is not None or status >= 400:
            error = self._error(status, exception, text)
            self.failed += 1
        self._buffer += RECORD.pack(
            self.window,
            self._endpoints.setdefault(endpoint, len(self._endpoints)),
            status,
            error,
            worker,
            thread,
            started,
            started if due is None else due,
            milliseconds,
            *spent,
        )
        self.recorded += 1
        self.answered_at.append(ended)
        if worker:
            self.workers.add(worker)

    def _error(self, status: int, exception: Any, text: str) -> int:
        kind = f"HTTP {status}" if status >= 400 else type(exception).__name__
        number = self._errors.setdefault(kind, len(self._errors))
        if number == len(self._examples):
            self._examples.append(f"{exception or ''} {text}".strip()[:EXAMPLE_LENGTH])
        return number

    def flush(self) -> None:
        """Writes what is buffered, and the names, so that a killed process loses one stretch at most."""
        with self._path.open("ab") as file:
            file.write(self._buffer)
        self._buffer.clear()
        names = {"endpoints": list(self._endpoints), "errors": list(self._errors), "examples": self._examples}
        self._path.with_suffix(".json").write_text(json.dumps(names))


def server_timing(header: str) -> tuple[int, int, float, float, float, float, int]:
    """Worker pid, thread, milliseconds of app, pool, connect and SQL, connections opened: the overlay's header.

    Its parts have a fixed order; an app may leave out all but the last, or all but the first and the last.
    """
    parts = header.split(", ")
    pid, thread = parts[-1][12:].split(".")
    if len(parts) == 6:
        app, pool, connect, sql, opened, _ = parts
        # What is cut off are names as long as "app;dur=": to look for them would take twice as long.
        spent = float(app[8:]), float(pool[9:]), float(connect[12:]), float(sql[8:]), int(opened[12:])
        return int(pid), int(thread), *spent
    app_ms = float(parts[0][8:]) if len(parts) > 1 else NO_TIMING
    return int(pid), int(thread), app_ms, NO_TIMING, NO_TIMING, NO_TIMING, NO_COUNT
