"""granian: a server written in Rust, for the app's WSGI or ASGI entry point."""

import json
import signal
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from runner.provision.service import Command
from runner.stacks.servers.base import Context, Launch, ServerSpec, worker_environment

ACCESS_LOG_FORMAT = "%(status)d %(path)s?%(query_string)s"


class GranianSpec(ServerSpec):
    """`blocking_threads` run the app under WSGI; under ASGI there is an event loop for that."""

    kind: Literal["granian"] = "granian"
    interface: Literal["wsgi", "asgi"] = "wsgi"
    workers: int = Field(default=1, ge=1, le=256)
    blocking_threads: int | None = Field(default=None, ge=1, le=256)

    @model_validator(mode="after")
    def _only_parameters_that_act(self) -> "GranianSpec":
        if self.blocking_threads is not None and self.interface == "asgi":
            raise ValueError("blocking_threads needs interface wsgi, not asgi")
        return self

    @property
    def packages(self) -> frozenset[str]:
        return frozenset({"granian"})

    @property
    def process_count(self) -> int:
        return self.workers

    @property
    def threads_per_process(self) -> int | None:
        return (self.blocking_threads or 1) if self.interface == "wsgi" else None

    @property
    def context(self) -> Context:
        return "thread" if self.interface == "wsgi" else "request"

    @property
    def entry_point(self) -> Literal["wsgi", "asgi"]:
        return self.interface

    @property
    def reload_signal(self) -> signal.Signals | None:
        return signal.SIGHUP

    @property
    def title(self) -> str:
        threads = f" × {self.blocking_threads}" if self.blocking_threads else ""
        return f"granian {self.interface} {self.workers}{threads}"

    def command(self, launch: Launch) -> Command:
        argv = [
            str(launch.bin / "granian"),
            "--interface", self.interface,
            "--host", launch.address.host,
            "--port", str(launch.address.port),
            "--workers", str(self.workers),
            "--log-config", str(_log_config(launch)),
            "--access-log",
            "--access-log-fmt", ACCESS_LOG_FORMAT,
        ]  # fmt: skip
        if self.interface == "wsgi":
            # Its default is the backlog's size, a thousand threads: whoever names none means one.
            argv += ["--blocking-threads", str(self.threads_per_process)]
        entry = launch.asgi if self.interface == "asgi" else launch.wsgi
        return Command([*argv, entry], worker_environment(launch), launch.project)


def _log_config(launch: Launch) -> Path:
    """granian's access log goes to its output unless a file for `logging.config` says otherwise."""
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {
            "stderr": {"class": "logging.StreamHandler"},
            "access": {"class": "logging.FileHandler", "filename": str(launch.access_log)},
        },
        "loggers": {
            "_granian": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
            "granian.access": {"handlers": ["access"], "level": "INFO", "propagate": False},
        },
    }
    path = launch.scratch / "granian-logging.json"
    path.write_text(json.dumps(config))
    return path
