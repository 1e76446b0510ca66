"""What the runner asks of an application server, whichever it is."""

import signal
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runner.models import Strict
from runner.provision.service import Address, Command


@dataclass(frozen=True)
class Launch:
    """Where and with what a server is to be started.

    `bin` is the folder of the app environment's programs, `project` the folder that holds manage.py, `wsgi` and
    `asgi` the entry points as `module:attribute`. One line per finished request goes to `access_log`, with its
    status and its path, query included: the harness's own probes are told by `PROBE_QUERY` in theirs.
    """

    bin: Path
    project: Path
    wsgi: str
    asgi: str
    address: Address
    access_log: Path
    scratch: Path
    env: Mapping[str, str]


# The harness's own requests carry this, so that the app server's log tells them from the load.
PROBE_QUERY = "connbench-probe"


#: What a kept database connection hangs on: a thread of the server, a client connection, or one request alone.
Context = Literal["thread", "client", "request"]


class ServerSpec(Strict):
    """An application server as the matrix names it. Subclasses fix `kind` to what they know."""

    kind: str

    @property
    @abstractmethod
    def process_count(self) -> int:
        """Worker processes that serve requests."""

    @property
    @abstractmethod
    def threads_per_process(self) -> int | None:
        """Contexts in one process that can each hold a connection; None where every client or request has its own."""

    @property
    def context(self) -> Context:
        return "thread" if self.threads_per_process is not None else "client"

    @property
    def client_limit(self) -> int | None:
        """Where contexts are no threads: the most of them at once in one process; None without limit."""
        return None

    @property
    def entry_point(self) -> Literal["wsgi", "asgi"]:
        """Which of the app's entry points it loads."""
        return "wsgi"

    @property
    def keeps_clients_alive(self) -> bool:
        """Whether a client connection can carry more than one request."""
        return True

    @property
    def keep_alive_seconds(self) -> float | None:
        """After how long without a request it drops a client; None where no attempt lasts as long."""
        return None

    @property
    def requests_per_worker(self) -> int | None:
        """After how many requests, at the least, a worker is replaced, its connections with it; None for never."""
        return None

    @property
    def kills_slow_requests(self) -> bool:
        """Whether a request that takes too long costs its worker its life, and its connections theirs."""
        return False

    @property
    def opened_at_start(self) -> int:
        """Connections that the server itself opens before it serves, and closes again."""
        return 0

    @property
    def serves_in_main_thread(self) -> bool:
        """Whether requests run in the thread that has imported the app."""
        return False

    @property
    def opens_before_fork(self) -> bool:
        """Whether the app has queried its database before the fork, so that all workers share what it opened."""
        return False

    @property
    def patched_too_late(self) -> bool:
        """Whether Django was imported before its threads were made greenlets: all greenlets then share one context."""
        return False

    @property
    def reload_signal(self) -> signal.Signals | None:
        """Told to the first process, it replaces the workers in good order; None where there is no such thing."""
        return None

    @property
    def cooperative(self) -> bool:
        """Whether greenlets take turns inside a process."""
        return False

    @property
    @abstractmethod
    def packages(self) -> frozenset[str]:
        """What the app's environment must have, by the names of the package index."""

    @property
    def system_python(self) -> bool:
        """Whether it is bound to the system's own Python, which the app's environment must then be made with."""
        return False

    @classmethod
    def installed(cls) -> str:
        """What it needs of this machine, with its version; empty where the app's environment has all of it.

        EnvironmentUnfit, with the remedy, where that is missing.
        """
        return ""

    @abstractmethod
    def command(self, launch: Launch) -> Command: ...

    @property
    def files(self) -> Mapping[str, str]:
        """What it reads beside its command line where it is deployed: names, in the folder of manage.py, and texts."""
        return {}

    @property
    @abstractmethod
    def title(self) -> str:
        """For tables: `gunicorn sync 4`."""


def worker_environment(launch: Launch) -> dict[str, str]:
    """The environment of every server: the overlay's, on the app's own PATH, with output unbuffered."""
    path = f"{launch.bin}:/usr/local/bin:/usr/bin:/bin"
    return {**launch.env, "PATH": path, "PYTHONUNBUFFERED": "1"}
