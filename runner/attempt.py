"""One attempt's life: up, verify, count, idle, windows, down. What it saw ends up in its folder."""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from runner import probe, waiting
from runner.asking import refuse_if_lost
from runner.breaker import Breaker
from runner.errors import ConnbenchError, Interrupted, LoadHostLost, ResultsUnwritable, StackError
from runner.evidence import Aftermath, Evidence, Stretch
from runner.load.generator import Driven, LoadGenerator, locustfile_of
from runner.load.hosts import LoadHosts
from runner.load.records import read_records
from runner.matrix.cells import Cell
from runner.matrix.spec import SamplingSpec
from runner.phased import PhaseRun
from runner.plan import PlannedAttempt
from runner.pooled import PooledSide
from runner.preparation import Prepared, Template
from runner.provision.service import Provider, Service
from runner.recording import basic_record, measured_record
from runner.results.schema import AttemptRecord, Phase, Status, Verdict
from runner.results.store import RunFolder, now_utc, writing
from runner.sampling.host import HostSampler, host_frame, read_kernel_counters
from runner.sampling.pooler import pooler_frame
from runner.searching import CapacitySearch
from runner.serving import AppSide
from runner.stacks.app import ROOT, App
from runner.stacks.databases.base import Account
from runner.stacks.environment import AppEnvironment
from runner.stacks.versions import Recipe


@dataclass(frozen=True)
class Stage:
    """What an attempt stands on. The attempts of one group share it, but for `app` and `prepared` in a comparison
    of two apps or databases."""

    provider: Provider
    folder: RunFolder
    app: App
    environments: Mapping[Recipe, AppEnvironment]
    prepared: Prepared
    host_sampler: HostSampler
    #: The same for all cells of a group, so that each is sent the same traffic.
    seed: str
    #: Set when the run is being stopped: nothing more is started.
    stopping: threading.Event = field(default_factory=threading.Event)
    #: Looks at a pooler a second: as many as at the database.
    pooler_looks: float = SamplingSpec().database
    #: Where the load comes from; None for this machine.
    load_hosts: LoadHosts | None = None
    #: The same for the whole run.
    breaker: Breaker = field(default_factory=Breaker)


class Attempt:
    """Each method is one phase; a phase that raises leaves the attempt to be taken down and recorded as failed."""

    def __init__(self, cell: Cell, planned: PlannedAttempt, group: str, stage: Stage) -> None:
        self.cell = cell
        self.stage = stage
        self.evidence = Evidence(
            cell=cell,
            planned=planned,
            group=group,
            app=stage.app.description,
            started_at=now_utc(),
            clock_zero=time.monotonic(),
            database_bytes=stage.prepared.memory_bytes,
        )
        self._folder = stage.folder.begin_attempt(cell.id, planned.block, planned.attempt)
        self._failure: Verdict | None = None
        self._cut_off = False
        self._account: Account | None = None
        self._pooled = PooledSide(self.evidence)
        self.app = AppSide(self.evidence, stage, self._pooled, self._folder / "logs")
        self._generator: LoadGenerator | None = None
        self._search: CapacitySearch | None = None

    @property
    def standing(self) -> bool:
        """Whether it can go on to its next phase."""
        return self._failure is None

    def fail(self, error: ConnbenchError) -> None:
        """Keeps the first failure: later ones follow from it."""
        if self._failure is None:
            status: Status = "invalid" if isinstance(error, LoadHostLost) else "failed"
            self._failure = Verdict(status=status, reason=str(error))
            self._cut_off = isinstance(error, Interrupted)

    def up(self) -> None:
        """A database and, in its cell, a pooler of its own, the app server, the load generator: until all are ready."""
        with self.phase("up"):
            planned = self.evidence.planned
            self.stage.folder.event("started", cell=self.cell.id, block=planned.block, attempt=planned.attempt)
            # The order tells cells apart whose ids differ in what a database name cannot show.
            name = f"b{planned.block}_{planned.order}_{self.cell.id}".replace("-", "_")
            with self.stage.prepared.asking("a copy of the template") as database:
                self._account = database.create_from_template(name, self._template.account)
            self.stage.prepared.sampler.watch(self._account.database)
            self.app.go_on_unless_stopping()
            address, logs = self.stage.prepared.address, self._folder / "logs"
            self._pooled.start(self.stage.provider, self._account, address, logs, self.stage.pooler_looks)
            if not self.cell.serves:
                return
            # Locust's imports and Django's run at the same time.
            load = self.cell.load
            if self.stage.load_hosts is not None:
                self.stage.load_hosts.regain(self.app.go_on_unless_stopping)
            self._generator = LoadGenerator(
                self.stage.provider,
                self.cell.id,
                self._folder / "requests.raw",
                self.log("load"),
                workers=load.workers,
                hosts=self.stage.load_hosts,
            )
            self.app.start(self._account)
            locustfile = locustfile_of(load.profile, ROOT)
            self._generator.configure(locustfile, self.app.server.address, keep_alive=load.keep_alive, model=load.model)

    def verify(self) -> None:
        """Each endpoint's answer is checked before anything is measured."""
        if not self.cell.serves:
            return
        with self.phase("verify"):
            probe.run_checks(self.app.server, self.stage.app)

    def count(self) -> None:
        """The contiguous stretch of load in which connections are counted."""
        load = self.cell.load
        with self.phase("count"), self._peak_watched():
            with self.watching(with_memory=True) as watch:
                driven = self.load.count(
                    users=load.users,
                    seconds=load.count,
                    workers=self.cell.server.process_count,
                    seed=f"{self.stage.seed}:count",
                    **load.pace,
                )
            self._refuse_silence(driven, "the count")
            self.evidence.counted = watch.stretch(driven)

    def idle(self) -> None:
        """Stands still, then reads the books: what is still connected lingers."""
        with self.phase("idle"):
            with self._pooled.watching():
                time.sleep(self.cell.load.idle)
            self._read_books()

    def run_phases(self) -> None:
        """The cell's own phases in place of count, idle and windows; then the books are read."""
        with self._peak_watched():
            PhaseRun(self).run()
        self._read_books()

    @property
    def searching(self) -> bool:
        """Whether a rate is still to be found."""
        if not self.cell.load.searches or not self.standing or self.evidence.counted is None:
            return False
        return self._search is None or not self._search.over

    def search(self) -> None:
        """One step of the search for the highest rate that keeps the service level."""
        self._search = self._search or CapacitySearch(self)
        self._search.step()
        self.evidence.held, self.evidence.failed = self._search.held, self._search.failed

    def window(self, number: int, position: int) -> None:
        """One window; `position` is its place in the round. After a search it runs at the rate that was held."""
        load = self.cell.load
        if load.searches:
            if self.evidence.held is None:
                return
            load = load.model_copy(update={"rate": self.evidence.held})
        with self.phase("window", number), self.watching(with_memory=False) as watch:
            driven = self.load.window(
                number,
                users=load.users,
                lead_in=load.lead_in,
                seconds=load.window,
                seed=f"{self.stage.seed}:{number}",
                **load.pace,
            )
        self._refuse_silence(driven, f"window {number + 1}")
        self.evidence.windows.append(watch.stretch(driven, position))

    def down(self) -> None:
        """Stops what was started for this attempt, whatever state it is in."""
        with self.phase("down"):
            try:
                if self._generator is not None:
                    self._generator.close()
                    self.evidence.load_hosts = self._generator.load_hosts
            finally:
                self.app.stop()
                self._pooled.stop(self.stage.provider)

    def record(self) -> AttemptRecord:
        """Reads everything back, judges, and writes it down; a failed one keeps what it measured."""
        record = basic_record(self.evidence, self._failure or Verdict(status="failed", reason="never started"))
        if self.evidence.measured:
            try:
                record = self._measured()
            except ResultsUnwritable:
                raise
            except ConnbenchError as error:
                self.fail(error)
            if self._failure is not None:
                record = record.model_copy(update={"verdict": self._failure})
        self._drop_database()
        record = record.model_copy(update={"cut_off": self._cut_off})
        self.stage.folder.write_attempt(self._folder, record)
        return record

    def commit(self) -> None:
        """Makes visible what `record` wrote."""
        self.stage.folder.commit_attempt(self._folder)

    @property
    def _template(self) -> Template:
        return self.stage.prepared.templates[self.cell.environment.versions]

    @property
    def load(self) -> LoadGenerator:
        assert self._generator is not None, "up() comes first"
        return self._generator

    @property
    def _records(self) -> list[Path]:
        return self._generator.records if self._generator is not None else []

    @property
    def account(self) -> Account:
        """Its database and user."""
        assert self._account is not None, "up() comes first"
        return self._account

    def log(self, component: str) -> Path:
        return self._folder / "logs" / f"{component}.log"

    def _read_books(self) -> None:
        self._pooled.read_books()
        with self.stage.prepared.asking("the books after the count") as database:
            self.evidence.books = database.books(self.account)

    @contextmanager
    def _peak_watched(self) -> Iterator[None]:
        with self.stage.prepared.asking("its sessions before the count") as database:
            mark = database.mark_peak(self.account)
        self._pooled.mark_peak()
        yield
        self._pooled.read_peak()
        with self.stage.prepared.asking("the peak of the count") as database:
            self.evidence.peak = database.read_peak(mark)

    @contextmanager
    def phase(self, name: str, index: int | None = None) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            offset, seconds = begun - self.evidence.clock_zero, time.monotonic() - begun
            phase = {"name": name, "offset": offset, "seconds": seconds, "index": index}
            self.evidence.phases.append(Phase.model_validate(phase))

    @contextmanager
    def watching(self, *, with_memory: bool) -> Iterator["_Watch"]:
        """Watches host and components during one stretch of load."""
        components: dict[str, Service] = {"app": self.app.server, **self._pooled.services()}
        if not self.cell.database.hosted:
            components["database"] = self.stage.prepared.database.service
        watch = _Watch(components)
        self.stage.host_sampler.focus({**components, **self.load.watched}, with_memory=with_memory)
        try:
            with self._pooled.watching():
                yield watch
        finally:
            self.evidence.host_rows += self.stage.host_sampler.look_away()
        watch.end()
        self._check_distance()
        refuse_if_lost(self.stage.prepared.database, "under load")
        self.app.refuse_if_ended()

    def _check_distance(self) -> None:
        distance = self.stage.prepared.distance
        if distance is not None and not distance.relay.alive():
            raise StackError(f"the relay to the database ended under load; its log ends:\n{distance.relay.log_tail()}")

    def _refuse_silence(self, driven: Driven, where: str) -> None:
        """A stretch in which no request was answered before it was cut off: the app hangs."""
        nothing_left = driven.requests == 0 and (driven.due or not self.evidence.is_open)
        all_cut_off = driven.requests == driven.errors and driven.stopped - driven.end > 0.9 * waiting.LOAD_STOP
        if nothing_left or (driven.requests and all_cut_off):
            seconds = driven.stopped - driven.begun
            raise StackError(
                f"the app hangs: none of its {self.cell.load.users} users had an answer in {where} ({seconds:.0f} s); "
                f"its log ends:\n{self.app.server.log_tail()}"
            )

    def _measured(self) -> AttemptRecord:
        requests, examples = read_records(self._records, self.evidence.clock_zero)
        aftermath = self._aftermath()
        self._write_frames(requests)
        return measured_record(self.evidence, requests, examples, aftermath, self.stage.prepared.sampler.quality())

    def _aftermath(self) -> Aftermath:
        before = self._template.rows
        with self.stage.prepared.asking("the books at the end") as database:
            # The books first: counting rows opens a session in the attempt's own database.
            books = database.books(self.account)
            gained = {table: database.count_rows(self.account, table) - rows for table, rows in before.items()}
        return Aftermath(books, self.app.logged_requests(), gained)

    def _write_frames(self, requests: pd.DataFrame) -> None:
        zero = self.evidence.clock_zero
        samples = self.stage.prepared.sampler.read(self.account.database, zero)
        with writing(self._folder):
            requests.to_parquet(self._folder / "requests.parquet", index=False)
            samples.to_parquet(self._folder / "samples.parquet", index=False)
            host_frame(self.evidence.host_rows, zero).to_parquet(self._folder / "host.parquet", index=False)
            if self.cell.pooler is not None:
                pooler_frame(self.evidence.pooler_rows, zero).to_parquet(self._folder / "pooler.parquet", index=False)
            for superseded in self._records:
                superseded.unlink(missing_ok=True)
                superseded.with_suffix(".json").unlink(missing_ok=True)

    def _drop_database(self) -> None:
        if self._account is None:
            return
        with contextlib.suppress(ConnbenchError):
            self.stage.prepared.sampler.unwatch(self._account.database)
        # The server goes with the run, and with it a database that could not be dropped.
        with contextlib.suppress(ConnbenchError), self.stage.prepared.asking("to drop a copy") as database:
            database.drop(self._account)


class _Watch:
    """Readings around one stretch of load."""

    def __init__(self, components: Mapping[str, Service]) -> None:
        self._components = components
        self._before = {name: service.cpu_seconds() for name, service in components.items()}
        self._kernel_before = read_kernel_counters()

    def end(self) -> None:
        self._kernel_after = read_kernel_counters()
        self._spent = {name: service.cpu_seconds() - self._before[name] for name, service in self._components.items()}

    def stretch(self, driven: Driven, position: int = 0) -> Stretch:
        cpu = {**self._spent, "load": driven.cpu_seconds}
        return Stretch(driven, position, cpu, (self._kernel_before, self._kernel_after))
