"""What the runner asks of an application server, whichever it is."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.models import Strict
from runner.provision.native import Command
from runner.provision.service import Address


@dataclass(frozen=True)
class Launch:
    """Where and with what a server is to be started.

    `bin` is the folder of the app environment's programs, `project` the folder that holds manage.py, `wsgi` the
    entry point as `module:attribute`. One line per finished request goes to `access_log`: `<status> <path>`;
    the harness's own probes are told by `PROBE_QUERY` in theirs.
    """

    bin: Path
    project: Path
    wsgi: str
    address: Address
    access_log: Path
    scratch: Path
    env: Mapping[str, str]


# The harness's own requests carry this, so that the app server's log tells them from the load.
PROBE_QUERY = "connbench-probe"


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
        """Contexts in one process that can each hold a connection; None where every client gets its own."""

    @property
    def client_limit(self) -> int | None:
        """Where every client gets its own context: the most clients of one process; otherwise None."""
        return None

    @property
    def keeps_clients_alive(self) -> bool:
        """Whether a client connection can carry more than one request."""
        return True

    @property
    def cooperative(self) -> bool:
        """Whether greenlets take turns inside a process."""
        return False

    @property
    @abstractmethod
    def packages(self) -> frozenset[str]:
        """What the app's environment must have, by the names of the package index."""

    @abstractmethod
    def command(self, launch: Launch) -> Command: ...

    @property
    @abstractmethod
    def title(self) -> str:
        """For tables: `gunicorn sync 4`."""


def worker_environment(launch: Launch) -> dict[str, str]:
    """The environment of every server: the overlay's, on the app's own PATH, with output unbuffered."""
    path = f"{launch.bin}:/usr/local/bin:/usr/bin:/bin"
    return {**launch.env, "PATH": path, "PYTHONUNBUFFERED": "1"}
