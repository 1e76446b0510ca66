"""An attempt's app server: started with the cell's settings on a port of its own, and stopped."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from runner import probe
from runner.errors import Interrupted, PortLost, StackError
from runner.evidence import Evidence
from runner.pooled import PooledSide
from runner.provision.native import LOOPBACK
from runner.provision.service import Command, Service
from runner.stacks.app import Overlay, Process, code_of, django_database, make_overlay
from runner.stacks.databases.base import Account
from runner.stacks.servers.base import PROBE_QUERY, Launch

if TYPE_CHECKING:
    from runner.attempt import Stage

PORT_TRIES = 3


class AppSide:
    """The app's processes: its server, and the commands beside it. What was started goes into the evidence."""

    def __init__(self, evidence: Evidence, stage: "Stage", pooled: PooledSide, logs: Path) -> None:
        self._evidence = evidence
        self._stage = stage
        self._pooled = pooled
        self._logs = logs
        self._server: Service | None = None

    @property
    def server(self) -> Service:
        assert self._server is not None, "start() comes first"
        return self._server

    def start(self, account: Account) -> None:
        """Until it answers; a port lost to somebody else in the meantime is no failure."""
        for tries_left in reversed(range(PORT_TRIES)):
            self.go_on_unless_stopping()
            # Known from its first moment, so that `stop` can end a start that is under way.
            self._server, token = self._launch(account)
            try:
                probe.wait_until_ready(self._server, self._stage.app, token)
            except StackError as error:
                self._stage.provider.stop(self._server)
                # Whoever has the port may answer before the server has found it in use.
                if tries_left and (isinstance(error, PortLost) or "in use" in self._server.log_tail(200)):
                    continue
                raise
            return

    def stop(self) -> None:
        """Stops the server, if it runs."""
        if self._server is not None:
            self._stage.provider.stop(self._server)
            self._stage.provider.bring(self._log("access"))

    def go_on_unless_stopping(self) -> None:
        """Interrupted where the run is being stopped."""
        if self._stage.stopping.is_set():
            raise Interrupted("the run is being stopped")

    def refuse_if_ended(self) -> None:
        """StackError where the server has ended by itself, or has lost a process to its bound on memory."""
        if not self.server.alive():
            raise StackError(f"the app server ended under load; its log ends:\n{self.server.log_tail()}")
        if self.server.starved():
            raise StackError(f"the app server had too little memory; its log ends:\n{self.server.log_tail()}")

    def management_command(self, arguments: Sequence[str], account: Account) -> Command:
        """`manage.py` with the settings, the account and the environment of the app server."""
        python = self._stage.environments[self._evidence.cell.environment].bin / "python"
        overlay = self._overlay(account, LOOPBACK)
        env = {**overlay.env, "PYTHONUNBUFFERED": "1"}
        command = self._complete(Command([str(python), "manage.py", *arguments], env, self._stage.app.folder))
        if self._server is None:
            self._note(command, overlay)
        return command

    def logged_requests(self) -> int:
        """Requests in the server's log, the harness's own probes left out."""
        path = self._log("access")
        if not path.exists():
            return 0
        with path.open(errors="replace") as lines:
            return sum(PROBE_QUERY not in line for line in lines)

    def _launch(self, account: Account) -> tuple[Service, str]:
        stage, cell = self._stage, self._evidence.cell
        entry_point = cell.server.entry_point
        if not getattr(stage.app.description, entry_point):
            speaks = f"{cell.server.title} speaks {entry_point.upper()}"
            raise StackError(f"{speaks}, and {stage.app.source} names no `{entry_point}:` entry")
        address = stage.provider.free_address(cell.load.reach)
        overlay = self._overlay(account, address.host)
        launch = Launch(
            bin=stage.environments[cell.environment].bin,
            project=stage.app.folder,
            wsgi=stage.app.description.wsgi,
            asgi=stage.app.description.asgi,
            address=address.inside,
            access_log=stage.provider.output(self._log("access")),
            scratch=self._scratch(f"{account.database}-{address.port}"),
            env=overlay.env,
        )
        command = self._complete(cell.server.command(launch))
        self._evidence.server_command = command.argv
        self._note(command, overlay)
        return stage.provider.start(f"app of {cell.id}", command, address, self._log("app")), overlay.token

    def _complete(self, command: Command) -> Command:
        """With what it takes to run it: the environment's programs, and the code."""
        kit = self._stage.environments[self._evidence.cell.environment].kit
        return replace(command, kit=kit, reads=code_of(self._stage.app), role="app")

    def _note(self, command: Command, overlay: Overlay) -> None:
        self._evidence.shown_databases = overlay.shown
        self._evidence.app_environment = overlay.masked(self._stage.provider.environment(command))

    def _overlay(self, account: Account, host: str) -> Overlay:
        stage, cell = self._stage, self._evidence.cell
        address = self._pooled.address or stage.prepared.address
        settings = django_database(cell.database, cell.connection, account, address.inside, cell.pooler)
        return make_overlay(
            stage.app,
            settings,
            host,
            cell.load.timing,
            Process.of(cell.database, cell.connection),
            query_at_import=cell.server.opens_before_fork,
        )

    def _scratch(self, name: str) -> Path:
        """A folder for the server's own small files; a port that is drawn twice brings its folder along."""
        folder = self._stage.provider.folder / name
        return folder if folder.exists() else self._stage.provider.private_folder(name)

    def _log(self, component: str) -> Path:
        return self._logs / f"{component}.log"
