"""daphne, Django's own ASGI server: one process."""

from typing import Literal

from runner.provision.service import Command
from runner.stacks.servers.asgi import AsgiServerSpec
from runner.stacks.servers.base import Launch, worker_environment


class DaphneSpec(AsgiServerSpec):
    kind: Literal["daphne"] = "daphne"

    @property
    def packages(self) -> frozenset[str]:
        return frozenset({"daphne"})

    @property
    def process_count(self) -> int:
        return 1

    @property
    def title(self) -> str:
        return "daphne"

    def command(self, launch: Launch) -> Command:
        argv = [
            str(launch.bin / "daphne"),
            "--bind", launch.address.host,
            "--port", str(launch.address.port),
            "--access-log", str(launch.access_log),
            launch.asgi,
        ]  # fmt: skip
        return Command(argv, worker_environment(launch), launch.project)
