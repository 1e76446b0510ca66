"""uWSGI: processes × threads, or processes with a gevent loop each."""

import signal
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from runner.provision.service import Command
from runner.stacks.servers.base import Launch, ServerSpec, worker_environment

THREADS = 4


class UwsgiSpec(ServerSpec):
    """`threads` (4 unless told) or `gevent`, the greenlets of each process: the two loops exclude each other."""

    kind: Literal["uwsgi"] = "uwsgi"
    processes: int = Field(default=4, ge=1, le=256)
    threads: int | None = Field(default=None, ge=1, le=256)
    gevent: int | None = Field(default=None, ge=1, le=10_000)
    #: Makes threads greenlets before the app is imported. Without it Django has seen the real ones, and breaks.
    early_monkey_patch: bool = True
    #: The app is loaded in each worker; otherwise once, before the workers are forked.
    lazy_apps: bool = True
    #: The app queries its database while it is loaded, as one that fills a cache does.
    query_at_import: bool = False
    #: The default since 2.0.31, where the option does nothing; threads of the app, a pool's own too, need it.
    enable_threads: bool = True
    #: Whole seconds after which a request costs its worker its life.
    harakiri: int | None = Field(default=None, ge=1, le=86_400)
    #: A worker is replaced after this many requests.
    max_requests: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _only_parameters_that_act(self) -> "UwsgiSpec":
        if self.threads is not None and self.gevent is not None:
            raise ValueError("threads and gevent exclude each other")
        if self.gevent is None and not self.early_monkey_patch:
            raise ValueError("early_monkey_patch: false needs gevent")
        if self.query_at_import and self.lazy_apps:
            raise ValueError("query_at_import needs lazy_apps: false")
        return self

    @property
    def packages(self) -> frozenset[str]:
        return frozenset({"uwsgi"} if self.gevent is None else {"uwsgi", "gevent"})

    @property
    def process_count(self) -> int:
        return self.processes

    @property
    def threads_per_process(self) -> int | None:
        return (self.threads or THREADS) if self.gevent is None else None

    @property
    def client_limit(self) -> int | None:
        return self.gevent

    @property
    def keeps_clients_alive(self) -> bool:
        # --http-socket closes after each answer; --http11-socket would not.
        return False

    @property
    def requests_per_worker(self) -> int | None:
        return self.max_requests

    @property
    def kills_slow_requests(self) -> bool:
        return self.harakiri is not None

    @property
    def serves_in_main_thread(self) -> bool:
        # The first of its threads.
        return True

    @property
    def opens_before_fork(self) -> bool:
        return self.query_at_import

    @property
    def patched_too_late(self) -> bool:
        return not self.early_monkey_patch

    @property
    def reload_signal(self) -> signal.Signals | None:
        return signal.SIGHUP

    @property
    def cooperative(self) -> bool:
        return self.gevent is not None

    @property
    def title(self) -> str:
        loop = f" × {self.threads_per_process}" if self.gevent is None else f" gevent {self.gevent}"
        late = "" if self.early_monkey_patch else " patched late"
        preload = "" if self.lazy_apps else " preloaded"
        return f"uWSGI {self.processes}{loop}{late}{preload}"

    def command(self, launch: Launch) -> Command:
        argv = [
            str(launch.bin / "uwsgi"),
            "--master",
            "--http-socket", str(launch.address),
            "--module", launch.wsgi,
            "--processes", str(self.processes),
            *self._loop(),
            *self._chosen(),
            "--need-app",
            "--die-on-term",
            # The environment stands before uWSGI's own variables; the app's packages come from its bin folder.
            "--home", str(launch.bin.parent),
            "--req-logger", f"file:{launch.access_log}",
            "--log-format", "%(status) %(uri)",
            "--listen", str(_backlog()),
            # It closes after each answer without saying so, and a client would send its next request in vain.
            "--add-header", "Connection: close",
        ]  # fmt: skip
        return Command(argv, worker_environment(launch), launch.project)

    def _loop(self) -> list[str]:
        if self.gevent is None:
            return ["--threads", str(self.threads_per_process)]
        patch = "--gevent-early-monkey-patch" if self.early_monkey_patch else "--gevent-monkey-patch"
        return ["--gevent", str(self.gevent), patch]

    def _chosen(self) -> list[str]:
        argv = []
        if self.lazy_apps:
            argv += ["--lazy-apps"]
        if self.enable_threads:
            argv += ["--enable-threads"]
        if self.harakiri is not None:
            argv += ["--harakiri", str(self.harakiri)]
        if self.max_requests is not None:
            # By default each worker lives for a minute at the least, which is longer than an attempt.
            argv += ["--max-requests", str(self.max_requests), "--min-worker-lifetime", "0"]
        return argv


def _backlog(most: int = 1024) -> int:
    """uWSGI refuses to start with a backlog above the kernel's; its default of 100 overflows under load."""
    return min(most, int(Path("/proc/sys/net/core/somaxconn").read_text()))
