"""A Locust user for benchmarking: the cheap client, raw records, and Locust's own statistics told in batches.

Use it as `FastHttpUser` is used:

    class Visitor(BenchmarkUser):
        @task
        def look(self) -> None:
            self.client.get("/products/1/", name="/products/[id]/")

What is left out to keep it cheap: Locust's `request` event does not fire for its requests, redirects are not
followed, and only http is spoken.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from time import monotonic, time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from weakref import WeakKeyDictionary

import gevent
from gevent import GreenletExit
from locust import User
from locust.env import Environment
from locust.exception import StopTest
from locust.stats import StatsEntry, bucket_response_time

from runner.load.client import Answer, Client

if TYPE_CHECKING:
    from runner.load.recorder import Recorder

# Often enough for Locust's web page, which shows whole seconds.
TELL_EVERY = 0.5
EXPIRE_EVERY = 1.0
# Django's names, unless a project changes them (https://docs.djangoproject.com/en/stable/ref/csrf/).
CSRF_COOKIE = "csrftoken"
CSRF_HEADER = "X-CSRFToken"


class BenchmarkUser(User):
    """A simulated user with one connection of its own."""

    abstract = True
    #: False sends `Connection: close` with each request.
    keep_alive = True
    #: In the open model, when the request that comes next was due (monotonic); one request takes it.
    due: float | None = None

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        if self.host is None:
            raise StopTest("there is no host: give --host, or `host` in the user class")
        self.client = RecordedClient(self, Batches.of(environment))

    def on_stop(self) -> None:
        """Closes the connection, so that the server sees a user leave when it leaves."""
        self.client.leave()


class RecordedClient:
    """A user's client, whose every request is recorded and counted."""

    def __init__(self, user: BenchmarkUser, batches: "Batches") -> None:
        assert user.host is not None, "the user has seen to it"
        self._user = user
        self._client = Client(user.host, keep_alive=user.keep_alive)
        self._batches = batches
        batches.clients.add(self._client)

    @property
    def cookies(self) -> dict[str, str]:
        return self._client.cookies

    def get(self, path: str, *, name: str = "", headers: Mapping[str, str] | None = None) -> Answer:
        """Sends a GET; `name` stands for the path in statistics, which would otherwise have a row for each id."""
        return self._request("GET", path, name, b"", headers)

    def post(
        self,
        path: str,
        *,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        data: bytes = b"",
        name: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Sends a POST with a JSON body, a form's fields, or `data` as it stands.

        Where the app has given the user Django's CSRF cookie, the token goes along, as a script in a browser sends it.
        """
        if json is not None:
            headers = {"Content-Type": "application/json", **(headers or {})}
            data = _encode(json)
        elif form is not None:
            headers = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
            data = urlencode(form).encode()
        if (token := self.cookies.get(CSRF_COOKIE)) is not None:
            headers = {CSRF_HEADER: token, **(headers or {})}
        return self._request("POST", path, name, data, headers)

    def leave(self) -> None:
        self._client.close()
        self._batches.clients.discard(self._client)

    def _request(self, method: str, path: str, name: str, body: bytes, headers: Mapping[str, str] | None) -> Answer:
        due, self._user.due = self._user.due, None
        name = name or path.partition("?")[0]
        try:
            answer = self._client.request(method, path, body=body, headers=headers)
        except GreenletExit:
            self._batches.add(method, name, self._client.cut_off(), due)
            raise
        self._batches.add(method, name, answer, due)
        return answer


def _encode(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


class Batches:
    """What the users of one Locust environment have seen: recorded at once, told to Locust's statistics in batches."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self.recorder: Recorder | None = None
        self.clients: set[Client] = set()
        #: By method and name: milliseconds and body bytes of each request since the last telling.
        self._pending: defaultdict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
        self._keeper = gevent.spawn(self._keep)
        # Locust reads its statistics at these moments: nothing may be missing then.
        for event in (environment.events.test_stop, environment.events.quitting, environment.events.report_to_master):
            event.add_listener(self._on_event)  # type: ignore[no-untyped-call]

    @classmethod
    def of(cls, environment: Environment) -> "Batches":
        """The one of this environment."""
        if environment not in _BATCHES:
            _BATCHES[environment] = cls(environment)
        return _BATCHES[environment]

    def add(self, method: str, name: str, answer: Answer, due: float | None) -> None:
        """Takes in one request; an answer of 400 and above is a failure, as is none."""
        self._pending[method, name].append((answer.milliseconds, len(answer.body)))
        failed = answer.status >= 400 or answer.error is not None
        if self.recorder is not None:
            text = answer.text if failed else ""
            endpoint = f"{method} {name}"
            self.recorder.add(endpoint, answer.status, answer.milliseconds, answer.timing, answer.error, text, due)
        if failed:
            self._environment.stats.log_error(method, name, answer.error or f"HTTP {answer.status}")

    def tell(self) -> None:
        """Brings Locust's own statistics up to date."""
        pending, self._pending = self._pending, defaultdict(list)
        stats = self._environment.stats
        for (method, name), seen in pending.items():
            batch = _as_entry(method, name, seen, stats)
            stats.entries[name, method].extend(batch)
            stats.total.extend(batch)

    def _on_event(self, **_: Any) -> None:
        self.tell()

    def _keep(self) -> None:
        """Tells Locust, and ends requests that never get an answer."""
        expire_at = monotonic() + EXPIRE_EVERY
        while True:
            gevent.sleep(TELL_EVERY)
            self.tell()
            if monotonic() >= expire_at:
                expire_at = monotonic() + EXPIRE_EVERY
                for client in list(self.clients):
                    client.expire(monotonic())


_BATCHES: WeakKeyDictionary[Environment, Batches] = WeakKeyDictionary()


def _as_entry(method: str, name: str, seen: list[tuple[float, int]], stats: Any) -> StatsEntry:
    """Many requests as one of Locust's entries, all of them in this second."""
    entry = StatsEntry(stats, name, method)
    times = [milliseconds for milliseconds, _ in seen]
    now = time()
    entry.num_requests = len(seen)
    # Locust says int and puts in floats itself.
    entry.total_response_time = sum(times)  # type: ignore[arg-type]
    entry.min_response_time = min(times)  # type: ignore[assignment]
    entry.max_response_time = max(times)  # type: ignore[assignment]
    entry.response_times.update(Counter(map(bucket_response_time, times)))
    entry.total_content_length = sum(length for _, length in seen)
    entry.num_reqs_per_sec[int(now)] = len(seen)
    entry.last_request_timestamp = now
    return entry
