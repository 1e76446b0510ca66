"""uWSGI: processes × threads."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from runner.provision.native import Command
from runner.stacks.servers.base import Launch, ServerSpec, worker_environment


class UwsgiSpec(ServerSpec):
    kind: Literal["uwsgi"] = "uwsgi"
    processes: int = Field(default=4, ge=1, le=256)
    threads: int = Field(default=4, ge=1, le=256)

    @property
    def packages(self) -> frozenset[str]:
        return frozenset({"uwsgi"})

    @property
    def process_count(self) -> int:
        return self.processes

    @property
    def threads_per_process(self) -> int:
        return self.threads

    @property
    def keeps_clients_alive(self) -> bool:
        # --http-socket closes after each answer; --http11-socket would not.
        return False

    @property
    def title(self) -> str:
        return f"uWSGI {self.processes} × {self.threads}"

    def command(self, launch: Launch) -> Command:
        argv = [
            str(launch.bin / "uwsgi"),
            "--master",
            "--http-socket", str(launch.address),
            "--module", launch.wsgi,
            "--processes", str(self.processes),
            "--threads", str(self.threads),
            # The app is loaded in each worker: a pool or a connection opened before the fork would be shared.
            "--lazy-apps",
            # Without it threads that the app starts (the pool's own) never run; the default since 2.0.31.
            "--enable-threads",
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


def _backlog(most: int = 1024) -> int:
    """uWSGI refuses to start with a backlog above the kernel's; its default of 100 overflows under load."""
    return min(most, int(Path("/proc/sys/net/core/somaxconn").read_text()))
