"""gunicorn with its sync, gthread, gevent and eventlet workers, and with uvicorn's."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from runner.provision.service import Command
from runner.stacks.servers.base import Context, Launch, ServerSpec, worker_environment

# Status and path with query: enough to count finished requests and to tell probes from load.
ACCESS_LOG_FORMAT = "%(s)s %(U)s?%(q)s"
_OVERLAY = Path(__file__).parent.parent / "overlay"
HOOKS = _OVERLAY / "gunicorn_psycogreen.py"
NO_HOOKS = _OVERLAY / "gunicorn_plain.py"
# gunicorn's own defaults.
KEEP_ALIVE = 2
WORKER_CONNECTIONS = 1000

WorkerClass = Literal["sync", "gthread", "gevent", "eventlet", "uvicorn"]
GREENLETS: frozenset[str] = frozenset({"gevent", "eventlet"})
UVICORN_WORKER = "uvicorn_worker.UvicornWorker"


class GunicornSpec(ServerSpec):
    """Parameters are refused with worker classes for which they would do nothing."""

    kind: Literal["gunicorn"] = "gunicorn"
    worker_class: WorkerClass = "sync"
    workers: int = Field(default=4, ge=1, le=256)
    #: gthread's.
    threads: int | None = Field(default=None, ge=1, le=256)
    #: Of gevent and eventlet: the most clients of one worker.
    worker_connections: int | None = Field(default=None, ge=1, le=100_000)
    #: Makes psycopg2 give way to other greenlets; psycopg 3 does so by itself.
    psycogreen: bool = False
    #: Whole seconds after which a client without a request is dropped; 0 closes after each answer.
    keep_alive: int | None = Field(default=None, ge=0, le=3600)
    #: A worker is replaced after this many requests, and up to `max_requests_jitter` more.
    max_requests: int | None = Field(default=None, ge=1)
    max_requests_jitter: int | None = Field(default=None, ge=0)
    #: Whole seconds that a worker which is replaced has for its requests.
    graceful_timeout: int = Field(default=2, ge=1, le=3600)
    #: The app is loaded once, before the workers are forked.
    preload: bool = False
    #: The app queries its database while it is loaded, as one that fills a cache does.
    query_at_import: bool = False

    @model_validator(mode="after")
    def _only_parameters_that_act(self) -> "GunicornSpec":
        if self.threads is not None and self.worker_class != "gthread":
            raise ValueError(f"threads needs worker_class gthread, not {self.worker_class}")
        if self.worker_connections is not None and self.worker_class not in GREENLETS:
            raise ValueError(f"worker_connections needs worker_class gevent or eventlet, not {self.worker_class}")
        if self.psycogreen and self.worker_class != "gevent":
            raise ValueError(f"psycogreen needs worker_class gevent, not {self.worker_class}")
        if self.keep_alive is not None and self.worker_class == "sync":
            raise ValueError("keep_alive needs another worker_class than sync, which closes after each answer")
        if self.max_requests_jitter is not None and self.max_requests is None:
            raise ValueError("max_requests_jitter needs max_requests")
        if self.query_at_import and not self.preload:
            raise ValueError("query_at_import needs preload: true")
        return self

    @property
    def packages(self) -> frozenset[str]:
        needed = {"gunicorn"}
        if self.worker_class in GREENLETS:
            needed.add(self.worker_class)
        if self.worker_class == "uvicorn":
            needed.add("uvicorn-worker")
        if self.psycogreen:
            needed.add("psycogreen")
        return frozenset(needed)

    @property
    def process_count(self) -> int:
        return self.workers

    @property
    def threads_per_process(self) -> int | None:
        return None if self.context != "thread" else self.threads or 1

    @property
    def context(self) -> Context:
        if self.worker_class in GREENLETS:
            return "client"
        return "request" if self.worker_class == "uvicorn" else "thread"

    @property
    def client_limit(self) -> int | None:
        return (self.worker_connections or WORKER_CONNECTIONS) if self.worker_class in GREENLETS else None

    @property
    def entry_point(self) -> Literal["wsgi", "asgi"]:
        return "asgi" if self.worker_class == "uvicorn" else "wsgi"

    @property
    def keeps_clients_alive(self) -> bool:
        return self.worker_class != "sync" and self.keep_alive != 0

    @property
    def keep_alive_seconds(self) -> float | None:
        return KEEP_ALIVE if self.keep_alive is None else self.keep_alive

    @property
    def requests_per_worker(self) -> int | None:
        return self.max_requests

    @property
    def serves_in_main_thread(self) -> bool:
        return self.worker_class == "sync"

    @property
    def opens_before_fork(self) -> bool:
        return self.query_at_import

    @property
    def patched_too_late(self) -> bool:
        # gevent's worker patches when it is forked, eventlet's when gunicorn imports it.
        return self.preload and self.worker_class == "gevent"

    @property
    def reload_signal(self) -> signal.Signals | None:
        return signal.SIGHUP

    @property
    def cooperative(self) -> bool:
        return self.worker_class in GREENLETS

    @property
    def title(self) -> str:
        threads = f" × {self.threads}" if self.threads else ""
        preload = " preloaded" if self.preload else ""
        return f"gunicorn {self.worker_class} {self.workers}{threads}{preload}"

    def command(self, launch: Launch) -> Command:
        argv = [
            str(launch.bin / "gunicorn"),
            launch.asgi if self.entry_point == "asgi" else launch.wsgi,
            "--bind", str(launch.address),
            "--workers", str(self.workers),
            "--worker-class", UVICORN_WORKER if self.worker_class == "uvicorn" else self.worker_class,
            "--worker-tmp-dir", str(launch.scratch),
            "--access-logfile", str(launch.access_log),
            "--access-logformat", ACCESS_LOG_FORMAT,
            "--graceful-timeout", str(self.graceful_timeout),
            # From 25.1 on, gunicorn opens a control socket at one path for each user: stacks would share it.
            "--no-control-socket",
            "--config", str(HOOKS if self.psycogreen else NO_HOOKS),
            *self._chosen(),
        ]  # fmt: skip
        return Command(argv, worker_environment(launch), launch.project)

    @property
    def files(self) -> Mapping[str, str]:
        # gunicorn reads a file of this name by itself.
        return {"gunicorn.conf.py": HOOKS.read_text().rstrip()} if self.psycogreen else {}

    def _chosen(self) -> list[str]:
        """What is handed on only where the matrix says so: gunicorn's defaults are its own."""
        numbers = {
            "--threads": self.threads,
            "--worker-connections": self.worker_connections,
            "--keep-alive": self.keep_alive,
            "--max-requests": self.max_requests,
            "--max-requests-jitter": self.max_requests_jitter,
        }
        argv = [word for name, value in numbers.items() if value is not None for word in (name, str(value))]
        if self.preload:
            argv += ["--preload"]
        return argv
