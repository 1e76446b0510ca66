"""Django's own development server: one process, a thread for each client or none at all."""

from typing import Literal

from runner.provision.service import Command
from runner.stacks.servers.base import Launch, ServerSpec, worker_environment


class RunserverSpec(ServerSpec):
    """`threading: false` is `--nothreading`. The reloader, which doubles the process, stays off."""

    kind: Literal["runserver"] = "runserver"
    threading: bool = True

    @property
    def packages(self) -> frozenset[str]:
        return frozenset({"django"})

    @property
    def process_count(self) -> int:
        return 1

    @property
    def threads_per_process(self) -> int | None:
        # Threading, it starts a thread for each client, and the thread ends with its client.
        return None if self.threading else 1

    @property
    def keeps_clients_alive(self) -> bool:
        return self.threading

    @property
    def opened_at_start(self) -> int:
        """It looks for migrations that are not applied."""
        return 1

    @property
    def title(self) -> str:
        return f"runserver{'' if self.threading else ' --nothreading'}"

    def command(self, launch: Launch) -> Command:
        argv = [str(launch.bin / "python"), "manage.py", "runserver", "--noreload", str(launch.address)]
        if not self.threading:
            argv.insert(-1, "--nothreading")
        # Its log has no option for a file; the overlay's settings take this one for the logger.
        env = {**worker_environment(launch), "CONNBENCH_RUNSERVER_LOG": str(launch.access_log)}
        return Command(argv, env, launch.project)
