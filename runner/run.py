"""A whole run: the environments, the databases and their templates, then one group after the other."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from runner.attempt import Stage
from runner.breaker import Breaker
from runner.errors import ConnbenchError, EnvironmentUnfit
from runner.group import run_group
from runner.host import own_fingerprint
from runner.interrupts import terminate_like_interrupt
from runner.load.hosts import LoadHosts
from runner.matrix.cells import Cell
from runner.plan import Plan, PlannedGroup
from runner.preparation import Prepared, prepare_database, with_sampler
from runner.progress import Reporter, TimeBook
from runner.provision.roles import Roles
from runner.provision.service import Provider
from runner.results.schema import AttemptRecord, DatabaseRecord, DistanceRecord, RunEnd, Verdict
from runner.results.store import RunFolder, now_utc, write_json, writing
from runner.sampling.host import HostSampler
from runner.stacks.app import App
from runner.stacks.environment import AppEnvironment
from runner.stacks.network.distance import Distance
from runner.stacks.versions import Recipe


class Run:
    """One run into one folder; `execute` leaves nothing running, whatever happens."""

    def __init__(
        self,
        plan: Plan,
        apps: Mapping[str, App],
        environments: Mapping[Recipe, AppEnvironment],
        folder: RunFolder,
        reporter: Reporter,
        make_provider: Callable[[Roles], Provider],
    ) -> None:
        """`apps` by cell."""
        self._plan = plan
        self._apps = apps
        self._environments = environments
        self._folder = folder
        self._reporter = reporter
        self._make_provider = make_provider
        self._time_book = TimeBook()
        self._begun = time.monotonic()
        self._databases: list[DatabaseRecord] = []
        self._breaker = Breaker()
        #: Database servers that were started in the place of a lost one.
        self._anew = 0
        self._logs = _fresh(folder.path / "logs")

    def execute(
        self,
        enough: Callable[[int], bool] = lambda _: False,
        choose: Callable[[int, Sequence[PlannedGroup]], Sequence[PlannedGroup]] = lambda _, groups: groups,
    ) -> RunEnd:
        """Runs the plan to its end, or to the first Ctrl-C or SIGTERM; writes end.json either way.

        It is stopped where cell after cell fails alike, where the folder takes no more, and where a host that is to
        drive the load is not to be had: EnvironmentUnfit in the latter two.
        `enough` is asked after each block, with its number, whether those that follow can be spared; `choose` before
        each which groups it is to have, of the cells of those that are planned.
        """
        with terminate_like_interrupt():
            try:
                self._run_groups(enough, choose)
            except KeyboardInterrupt:
                self._folder.event("interrupted")
                return self._end("interrupted")
            except EnvironmentUnfit as error:
                # There may be room again, now that the servers and their data have gone.
                with contextlib.suppress(EnvironmentUnfit):
                    self._end("stopped", str(error))
                raise
        if self._breaker.finding:
            self._folder.event("stopped", finding=self._breaker.finding)
            return self._end("stopped", self._breaker.finding)
        return self._end("finished")

    def _end(self, status: str, finding: str = "") -> RunEnd:
        end = RunEnd.model_validate(
            {
                "status": status,
                "finding": finding,
                "finished_at": now_utc(),
                "wall_seconds": time.monotonic() - self._begun,
                "databases": sorted(self._databases, key=lambda record: record.name),
                "time_spent": self._time_book.seconds,
            }
        )
        write_json(self._folder.path / "end.json", end)
        return end

    def _run_groups(
        self,
        enough: Callable[[int], bool],
        choose: Callable[[int, Sequence[PlannedGroup]], Sequence[PlannedGroup]],
    ) -> None:
        with ExitStack() as stack:
            provider = self._make_provider(self._plan.roles)
            stack.callback(provider.close)
            provider.journal.note("results", path=str(self._folder.path))
            host_sampler = HostSampler(self._plan.sampling.host)
            stack.callback(host_sampler.close)
            with self._time_book.spent("set-up"):
                load_hosts = self._open_to_load_hosts(provider, stack)
                prepared = self._prepare_all(provider, stack)
                if load_hosts is not None:
                    self._reporter.phase("load hosts", "waiting for them to join")
                    load_hosts.wait()
            for block, planned in itertools.groupby(self._plan.groups, key=lambda group: group.block):
                for group in choose(block, tuple(planned)):
                    self._restore(group, prepared, provider, stack)
                    stages = self._stages(group, prepared, provider, host_sampler, load_hosts)
                    if isinstance(stages, ConnbenchError):
                        self._give_up(group, stages)
                    else:
                        run_group(group, self._plan.cells, stages, self._reporter, self._time_book)
                    if self._breaker.finding:
                        return
                if enough(block):
                    break

    def _restore(
        self,
        group: PlannedGroup,
        prepared: dict[str, Prepared | ConnbenchError],
        provider: Provider,
        closing: ExitStack,
    ) -> None:
        """What the groups before have cost its databases: a server that was lost is started anew, so is a sampler."""
        for key in {group.database_of(planned.cell): None for planned in group.attempts}:
            found = prepared[key]
            if isinstance(found, ConnbenchError):
                continue
            with self._time_book.spent("set-up"):
                try:
                    if found.lost:
                        self._reporter.line(f"{key}: the database server was lost; starting another")
                        found.database.service.stop()
                        self._anew += 1
                        prepared[key] = self._prepare(
                            f"{key}.again{self._anew}", self._cells_by_database()[key], provider, closing
                        )
                    else:
                        rate = self._plan.sampling.database
                        prepared[key] = with_sampler(found, provider, self._logs, rate, closing)
                except ConnbenchError as error:
                    prepared[key] = error

    def _stages(
        self,
        group: PlannedGroup,
        prepared: Mapping[str, Prepared | ConnbenchError],
        provider: Provider,
        host_sampler: HostSampler,
        load_hosts: LoadHosts | None,
    ) -> dict[str, Stage] | ConnbenchError:
        """What each of a group's cells stands on; the error where one of its databases could not be had."""
        stages, stopping = {}, threading.Event()
        for cell in (planned.cell for planned in group.attempts):
            found = prepared[group.database_of(cell)]
            if isinstance(found, ConnbenchError):
                return found
            stages[cell] = Stage(
                provider=provider,
                folder=self._folder,
                app=self._apps[cell],
                environments=self._environments,
                prepared=found,
                host_sampler=host_sampler,
                pooler_looks=self._plan.sampling.database,
                seed=str(group.seed),
                stopping=stopping,
                load_hosts=load_hosts,
                breaker=self._breaker,
            )
        return stages

    def _open_to_load_hosts(self, provider: Provider, closing: ExitStack) -> LoadHosts | None:
        """Has them join, while databases are prepared; None where this machine drives the load itself."""
        load = next(iter(self._plan.cells.values())).load
        if load.reach is None:
            return None
        with writing(self._logs):
            self._logs.mkdir(exist_ok=True)
        hosts = LoadHosts(load.hosts, load.reach, provider, self._logs, self._reporter.line)
        closing.callback(hosts.close)
        hosts.invite()
        return hosts

    def _prepare_all(self, provider: Provider, stack: ExitStack) -> dict[str, Prepared | ConnbenchError]:
        """Every database that the plan needs, started side by side; one that fails takes its own groups with it."""
        cells = self._cells_by_database()

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

    def _cells_by_database(self) -> dict[str, list[Cell]]:
        cells: dict[str, list[Cell]] = {}
        for group in self._plan.groups:
            for planned in group.attempts:
                cells.setdefault(group.database_of(planned.cell), []).append(self._plan.cells[planned.cell])
        return cells

    def _prepare(self, name: str, cells: Sequence[Cell], provider: Provider, closing: ExitStack) -> Prepared:
        with writing(self._logs):
            self._logs.mkdir(exist_ok=True)
        environments = [self._environments[cell.environment] for cell in cells]
        rate = self._plan.sampling.database
        first = cells[0]
        prepared = prepare_database(
            name, first.database, self._apps[first.id], environments, provider, self._logs, rate, closing
        )
        database, away = prepared.database, provider.round_trip_to("database")
        self._databases.append(
            DatabaseRecord(
                name=name,
                product=database.product,
                settings=database.applied_settings,
                unknown=database.unknown,
                distance=_distance_record(first.database.round_trip, prepared.distance),
                round_trip_ms=None if away is None else away * 1000,
            )
        )
        return prepared

    def _give_up(self, group: PlannedGroup, error: ConnbenchError) -> None:
        """Records every attempt of a group whose database could not be had."""
        self._reporter.line(f"{group.name}: {error}")
        self._breaker.failed(f"{group.name}, block {group.block}", str(error))
        for planned in group.attempts:
            record = AttemptRecord(
                cell=planned.cell,
                block=planned.block,
                attempt=planned.attempt,
                group=group.name,
                verdict=Verdict(status="failed", reason=str(error)),
                started_at=now_utc(),
                measured_on=own_fingerprint(),
                clock_zero=time.monotonic(),
            )
            partial = self._folder.begin_attempt(planned.cell, planned.block, planned.attempt)
            self._folder.write_attempt(partial, record)
            self._folder.commit_attempt(partial)
            self._folder.event(
                "failed", cell=planned.cell, block=planned.block, attempt=planned.attempt, reason=str(error)
            )


def _fresh(logs: Path) -> Path:
    """A resumed run's servers keep logs of their own: what is in a log is counted."""
    if not logs.exists():
        return logs
    return next(path for number in itertools.count(2) if not (path := logs.with_name(f"logs-{number}")).exists())


def _distance_record(asked: float, distance: Distance | None) -> DistanceRecord | None:
    if distance is None:
        return None
    return DistanceRecord(
        by="relay",
        asked_ms=asked * 1000,
        added_ms=distance.added * 1000,
        near_ms=distance.near * 1000,
        far_ms=distance.far * 1000,
    )
