"""uvicorn, which runs the app's ASGI entry point: alone, or as a parent that keeps several workers."""

import json
import signal
from pathlib import Path
from typing import Literal

from pydantic import Field

from runner.provision.service import Command
from runner.stacks.servers.asgi import AsgiServerSpec
from runner.stacks.servers.base import Launch, worker_environment

# uvicorn's own default, in seconds.
KEEP_ALIVE = 5


class UvicornSpec(AsgiServerSpec):
    kind: Literal["uvicorn"] = "uvicorn"
    workers: int = Field(default=1, ge=1, le=256)
    #: Whole seconds after which a client without a request is dropped.
    keep_alive: int | None = Field(default=None, ge=1, le=3600)
    #: A worker is replaced after this many requests.
    max_requests: int | None = Field(default=None, ge=1)

    @property
    def packages(self) -> frozenset[str]:
        return frozenset({"uvicorn"})

    @property
    def process_count(self) -> int:
        return self.workers

    @property
    def keep_alive_seconds(self) -> float | None:
        return self.keep_alive or KEEP_ALIVE

    @property
    def requests_per_worker(self) -> int | None:
        return self.max_requests

    @property
    def reload_signal(self) -> signal.Signals | None:
        # A single process is its own parent, and has nobody to replace it.
        return signal.SIGHUP if self.workers > 1 else None

    @property
    def title(self) -> str:
        return f"uvicorn {self.workers}"

    def command(self, launch: Launch) -> Command:
        argv = [
            str(launch.bin / "uvicorn"),
            launch.asgi,
            "--host", launch.address.host,
            "--port", str(launch.address.port),
            "--workers", str(self.workers),
            "--log-config", str(_log_config(launch)),
            # Django has no use for it, and says so in the log at each start.
            "--lifespan", "off",
        ]  # fmt: skip
        if self.keep_alive is not None:
            argv += ["--timeout-keep-alive", str(self.keep_alive)]
        if self.max_requests is not None:
            argv += ["--limit-max-requests", str(self.max_requests)]
        return Command(argv, worker_environment(launch), launch.project)


def _log_config(launch: Launch) -> Path:
    """uvicorn's access log has no option for its place and format other than a file for `logging.config`."""
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        # The record's arguments: client, method, path with query, HTTP version, status.
        "formatters": {"access": {"format": "{args[4]} {args[2]}", "style": "{"}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler"},
            "access": {"class": "logging.FileHandler", "formatter": "access", "filename": str(launch.access_log)},
        },
        "loggers": {
            "uvicorn": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
            "uvicorn.access": {"handlers": ["access"], "level": "INFO", "propagate": False},
        },
    }
    path = launch.scratch / "uvicorn-logging.json"
    path.write_text(json.dumps(config))
    return path
