"""gunicorn with its sync, gthread and gevent workers."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from runner.provision.native import Command
from runner.stacks.servers.base import Launch, ServerSpec, worker_environment

# Status and path with query: enough to count finished requests and to tell probes from load.
ACCESS_LOG_FORMAT = "%(s)s %(U)s?%(q)s"
HOOKS = Path(__file__).parent.parent / "overlay" / "gunicorn_psycogreen.py"


class GunicornSpec(ServerSpec):
    """`threads` belongs to gthread, `worker_connections` to gevent; elsewhere they would do nothing and are refused."""

    kind: Literal["gunicorn"] = "gunicorn"
    worker_class: Literal["sync", "gthread", "gevent"] = "sync"
    workers: int = Field(default=4, ge=1, le=256)
    threads: int | None = Field(default=None, ge=1, le=256)
    worker_connections: int | None = Field(default=None, ge=1, le=100_000)
    #: Makes psycopg2 give way to other greenlets; psycopg 3 does so by itself.
    psycogreen: bool = False

    @model_validator(mode="after")
    def _only_parameters_that_act(self) -> "GunicornSpec":
        if self.threads is not None and self.worker_class != "gthread":
            raise ValueError(f"threads needs worker_class gthread, not {self.worker_class}")
        if self.worker_connections is not None and self.worker_class != "gevent":
            raise ValueError(f"worker_connections needs worker_class gevent, not {self.worker_class}")
        if self.psycogreen and self.worker_class != "gevent":
            raise ValueError(f"psycogreen needs worker_class gevent, not {self.worker_class}")
        return self

    @property
    def packages(self) -> frozenset[str]:
        needed = {"gunicorn"}
        if self.worker_class == "gevent":
            needed.add("gevent")
        if self.psycogreen:
            needed.add("psycogreen")
        return frozenset(needed)

    @property
    def process_count(self) -> int:
        return self.workers

    @property
    def threads_per_process(self) -> int | None:
        if self.worker_class == "gevent":
            return None
        return self.threads or 1

    @property
    def client_limit(self) -> int | None:
        # 1000 is gunicorn's own default for worker_connections.
        return (self.worker_connections or 1000) if self.worker_class == "gevent" else None

    @property
    def keeps_clients_alive(self) -> bool:
        return self.worker_class != "sync"

    @property
    def cooperative(self) -> bool:
        return self.worker_class == "gevent"

    @property
    def title(self) -> str:
        threads = f" × {self.threads}" if self.threads else ""
        return f"gunicorn {self.worker_class} {self.workers}{threads}"

    def command(self, launch: Launch) -> Command:
        argv = [
            str(launch.bin / "gunicorn"),
            launch.wsgi,
            "--bind", str(launch.address),
            "--workers", str(self.workers),
            "--worker-class", self.worker_class,
            "--worker-tmp-dir", str(launch.scratch),
            "--access-logfile", str(launch.access_log),
            "--access-logformat", ACCESS_LOG_FORMAT,
            "--graceful-timeout", "2",
            # From 25.1 on, gunicorn opens a control socket at one path for each user: stacks would share it.
            "--no-control-socket",
        ]  # fmt: skip
        if self.threads is not None:
            argv += ["--threads", str(self.threads)]
        if self.worker_connections is not None:
            argv += ["--worker-connections", str(self.worker_connections)]
        if self.psycogreen:
            argv += ["--config", str(HOOKS)]
        return Command(argv, worker_environment(launch), launch.project)
