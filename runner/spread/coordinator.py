"""Hands a run's blocks to the hosts, takes their results in as they come, and hands out again what was lost.

A block is never split: its ratios stay within one host. Dask finds another worker for a block whose worker is lost;
what is here is what Dask cannot know: which hosts are alike, when a block takes too long, and that of two results of
one block only the first counts.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field

from distributed import Client, Future

from runner.errors import ConnbenchError, ResultsUnwritable
from runner.interrupts import terminate_like_interrupt
from runner.plan import PlannedAttempt
from runner.progress import Reporter
from runner.results.merge import common_host, time_spent
from runner.results.schema import DatabaseRecord, RunEnd
from runner.results.store import RunFolder, now_utc, write_json
from runner.spread import task
from runner.spread.hosts import Hosts
from runner.spread.order import Order
from runner.spread.parcel import Unfit, take_in

LOOK_EVERY = 0.2
#: How many times as long as the others a block may take before another host is given it too, …
STRAGGLES = 3.0
#: … and how much longer at least, in seconds.
STRAGGLES_BY = 60.0
#: Seconds without any fit host before the run is given up, to be resumed.
DESERTED = 300.0
#: A block that fails on two hosts fails on every one.
TRIES = 2


class Stopped(ConnbenchError):
    """The run cannot go on: why."""


@dataclass
class Block:
    """One block on its way: the futures of it are equal, and the first to come counts."""

    order: Order
    planned: dict[str, PlannedAttempt]
    seconds: float
    begun: dict[Future[bytes], float] = field(default_factory=dict)
    handed_out: int = 0
    failures: list[str] = field(default_factory=list)


class Coordinator:
    """One run over all hosts, into one folder."""

    def __init__(self, client: Client, hosts: Hosts, folder: RunFolder, reporter: Reporter) -> None:
        self._client = client
        self._hosts = hosts
        self._folder = folder
        self._reporter = reporter
        self._waiting: list[Block] = []
        self._under_way: list[Block] = []
        self._ends: list[RunEnd] = []
        self._took: list[float] = []
        self._begun = time.monotonic()
        self._deserted_since: float | None = None

    def execute(self, waves: Sequence[Sequence[Block]], enough: Callable[[int], bool] = lambda _: False) -> RunEnd:
        """Runs one wave of blocks after the other, side by side within each; writes end.json, whatever happens.

        `enough` is asked after each wave, with its last block's number, whether those that follow can be spared.
        """
        status, finding = "finished", ""
        with terminate_like_interrupt():
            try:
                for wave in waves:
                    self._run(wave)
                    if enough(wave[-1].order.block):
                        break
            except KeyboardInterrupt:
                self._folder.event("interrupted")
                status = "interrupted"
            except Stopped as error:
                self._folder.event("stopped", finding=str(error))
                status, finding = "stopped", str(error)
            except ResultsUnwritable:
                self._recall()
                raise
            self._recall()
        return self._end(status, finding)

    def _run(self, wave: Sequence[Block]) -> None:
        self._waiting = list(wave)
        try:
            while self._waiting or self._under_way:
                for line in self._hosts.welcome():
                    self._reporter.line(line)
                self._give_up_if_deserted()
                self._hand_out()
                self._take_in_what_came()
        except (OSError, CancelledError) as error:
            raise Stopped(f"the scheduler was lost ({error}); connbench resume --scheduler finishes the run") from error

    def _hand_out(self) -> None:
        """As many blocks as there are hosts; once all are handed out, those that straggle once more."""
        free = len(self._hosts.fit) - sum(len(block.begun) for block in self._under_way)
        while free > 0 and self._waiting:
            block = self._waiting.pop(0)
            self._under_way.append(block)
            self._submit(block)
            free -= 1
        for block in self._under_way:
            if free > 0 and self._straggles(block):
                self._reporter.line(f"block {block.order.block} takes long: another host is given it too")
                self._folder.event("straggler", block=block.order.block)
                self._submit(block)
                free -= 1

    def _submit(self, block: Block) -> None:
        block.handed_out += 1
        number = block.order.block
        future = self._client.submit(
            task.measure,
            block.order.model_dump_json(),
            key=f"connbench-{self._folder.path.name}-b{number}-{block.handed_out}",
            workers=list(self._hosts.fit),
            allow_other_workers=False,
            resources={task.RESOURCE: 1},
            priority=-number,
            pure=False,
        )
        block.begun[future] = time.monotonic()
        self._reporter.phase(f"block {number}", "handed out")

    def _straggles(self, block: Block) -> bool:
        usual = statistics.median(self._took) if self._took else block.seconds
        limit = max(STRAGGLES * usual, usual + STRAGGLES_BY)
        return len(block.begun) == 1 and time.monotonic() - min(block.begun.values()) > limit

    def _take_in_what_came(self) -> None:
        came = [(block, future) for block in self._under_way for future in block.begun if future.done()]
        for block, future in came:
            # What two hosts measured may have come at the same time.
            if block in self._under_way:
                self._take(block, future)
        if not came:
            time.sleep(LOOK_EVERY)

    def _take(self, block: Block, future: Future[bytes]) -> None:
        number = block.order.block
        seconds = time.monotonic() - block.begun.pop(future)
        try:
            if future.status != "finished":
                raise Unfit(f"block {number}: {future.exception()}")
            arrival = take_in(future.result(), self._folder, number, block.planned)
        except Unfit as error:
            self._failed(block, str(error))
            return
        self._under_way.remove(block)
        self._cancel(block)
        self._took.append(seconds)
        self._ends.append(arrival.end)
        self._folder.event("block", block=number, hosts=sorted(arrival.hosts), seconds=round(seconds, 1))
        self._reporter.line(f"block {number}: {len(block.planned)} attempts from {', '.join(sorted(arrival.hosts))}")
        self._reporter.advance(block.seconds)

    def _failed(self, block: Block, why: str) -> None:
        block.failures.append(why)
        self._folder.event("block-failed", block=block.order.block, reason=why)
        self._reporter.line(f"{why}{'' if len(block.failures) >= TRIES else ': it is tried once more'}")
        if len(block.failures) >= TRIES:
            raise Stopped(why)
        if not block.begun:
            self._under_way.remove(block)
            self._waiting.insert(0, block)

    def _give_up_if_deserted(self) -> None:
        if self._hosts.fit:
            self._deserted_since = None
            return
        self._deserted_since = self._deserted_since or time.monotonic()
        if time.monotonic() - self._deserted_since > DESERTED:
            raise Stopped(f"no host was left for {DESERTED:.0f} s; connbench resume --scheduler finishes the run")

    def _cancel(self, block: Block) -> None:
        """Whoever still measures it ends by itself as soon as it sees that nobody waits."""
        if block.begun:
            self._client.cancel(list(block.begun))
            block.begun.clear()

    def _recall(self) -> None:
        for block in self._under_way:
            try:
                self._cancel(block)
            except (OSError, CancelledError):
                # A scheduler that is gone has let go of them.
                return

    def _end(self, status: str, finding: str) -> RunEnd:
        databases: dict[str, DatabaseRecord] = {}
        for end in self._ends:
            databases |= {record.name: record for record in end.databases}
        end = RunEnd.model_validate(
            {
                "status": status,
                "finding": finding,
                "finished_at": now_utc(),
                "wall_seconds": time.monotonic() - self._begun,
                "databases": [databases[name] for name in sorted(databases)],
                "time_spent": time_spent(self._ends),
            }
        )
        write_json(self._folder.path / "end.json", end)
        self._name_hosts()
        return end

    def _name_hosts(self) -> None:
        """run.json says which hosts took part; each attempt says where it was measured."""
        record = self._folder.run()
        hosts = {host.fingerprint: host for host in [*record.hosts, *self._hosts.ever]}
        everyone = [hosts[name] for name in sorted(hosts)]
        named = record.model_copy(update={"host": common_host(everyone), "hosts": everyone})
        write_json(self._folder.path / "run.json", named)
