"""A whole run: the environments, the databases and their templates, then one group after the other."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from runner.attempt import Stage
from runner.errors import ConnbenchError
from runner.group import run_group
from runner.interrupts import terminate_like_interrupt
from runner.matrix.cells import Cell
from runner.plan import Plan, PlannedGroup
from runner.preparation import Prepared, prepare_database
from runner.progress import Reporter, TimeBook
from runner.provision.native import NativeProvider
from runner.results.schema import AttemptRecord, DatabaseRecord, RunEnd, Verdict
from runner.results.store import RunFolder, now_utc, write_json
from runner.sampling.host import HostSampler
from runner.stacks.app import App
from runner.stacks.environment import AppEnvironment


class Run:
    """One run into one folder; `execute` leaves nothing running, whatever happens."""

    def __init__(
        self,
        plan: Plan,
        app: App,
        environments: Mapping[str, AppEnvironment],
        folder: RunFolder,
        reporter: Reporter,
        make_provider: Callable[[], NativeProvider],
    ) -> None:
        self._plan = plan
        self._app = app
        self._environments = environments
        self._folder = folder
        self._reporter = reporter
        self._make_provider = make_provider
        self._time_book = TimeBook()
        self._begun = time.monotonic()
        self._databases: list[DatabaseRecord] = []

    def execute(self) -> RunEnd:
        """Runs the plan to its end, or to the first Ctrl-C or SIGTERM; writes end.json either way."""
        status = "finished"
        with terminate_like_interrupt():
            try:
                self._run_groups()
            except KeyboardInterrupt:
                status = "interrupted"
                self._folder.event("interrupted")
        end = RunEnd.model_validate(
            {
                "status": status,
                "finished_at": now_utc(),
                "wall_seconds": time.monotonic() - self._begun,
                "databases": sorted(self._databases, key=lambda record: record.name),
                "time_spent": self._time_book.seconds,
            }
        )
        write_json(self._folder.path / "end.json", end)
        return end

    def _run_groups(self) -> None:
        with ExitStack() as stack:
            provider = self._make_provider()
            stack.callback(provider.close)
            host_sampler = HostSampler(self._plan.sampling.host)
            stack.callback(host_sampler.close)
            with self._time_book.spent("set-up"):
                prepared = self._prepare_all(provider, stack)
            for group in self._plan.groups:
                found = prepared[group.database_key]
                if isinstance(found, ConnbenchError):
                    self._give_up(group, found)
                    continue
                stage = Stage(
                    provider=provider,
                    folder=self._folder,
                    app=self._app,
                    environments=self._environments,
                    prepared=found,
                    host_sampler=host_sampler,
                    seed=str(group.seed),
                )
                run_group(group, self._plan.cells, stage, self._reporter, self._time_book)

    def _prepare_all(self, provider: NativeProvider, stack: ExitStack) -> dict[str, Prepared | ConnbenchError]:
        """Every database that the plan needs, started side by side; one that fails takes its own groups with it."""
        # Any of a database's cells will do: its own set of packages is what the template is made with.
        cells = {group.database_key: self._plan.cells[group.attempts[0].cell] for group in self._plan.groups}

        def prepare(name: str) -> Prepared | ConnbenchError:
            try:
                return self._prepare(name, cells[name], provider, stack)
            except ConnbenchError as error:
                return error

        self._reporter.phase(", ".join(cells), "database and template")
        with ThreadPoolExecutor(max_workers=len(cells)) as helpers:
            try:
                return dict(zip(cells, helpers.map(prepare, cells), strict=True))
            except KeyboardInterrupt:
                # What the helpers wait for goes, and they with it.
                provider.close()
                raise

    def _prepare(self, name: str, cell: Cell, provider: NativeProvider, closing: ExitStack) -> Prepared:
        logs = self._folder.path / "logs"
        logs.mkdir(exist_ok=True)
        environment = self._environments[cell.environment]
        rate = self._plan.sampling.database
        prepared = prepare_database(name, cell.database, self._app, environment, provider, logs, rate, closing)
        database = prepared.database
        self._databases.append(DatabaseRecord(name=name, product=database.product, settings=database.applied_settings))
        return prepared

    def _give_up(self, group: PlannedGroup, error: ConnbenchError) -> None:
        """Records every attempt of a group whose database could not be had."""
        self._reporter.line(f"{group.name}: {error}")
        for planned in group.attempts:
            record = AttemptRecord(
                cell=planned.cell,
                block=planned.block,
                attempt=planned.attempt,
                group=group.name,
                verdict=Verdict(status="failed", reason=str(error)),
                started_at=now_utc(),
                clock_zero=time.monotonic(),
            )
            partial = self._folder.begin_attempt(planned.cell, planned.block, planned.attempt)
            self._folder.commit_attempt(partial, record)
            self._folder.event(
                "failed", cell=planned.cell, block=planned.block, attempt=planned.attempt, reason=str(error)
            )
