"""A group's life: its attempts side by side, counted one after the other, then timed in windows that take turns."""

import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from runner.attempt import Attempt, Stage
from runner.errors import ConnbenchError, DatabaseLost, Interrupted
from runner.interrupts import interrupts_held
from runner.matrix.cells import Cell
from runner.plan import PlannedGroup
from runner.progress import Reporter, TimeBook
from runner.results.schema import AttemptRecord


class GroupRun:
    """One group from its first stack to its last record."""

    def __init__(
        self,
        group: PlannedGroup,
        cells: Mapping[str, Cell],
        stages: Mapping[str, Stage],
        reporter: Reporter,
        time_book: TimeBook,
    ) -> None:
        self._group = group
        # What they share is the same on each.
        self._stage = stages[group.attempts[0].cell]
        self._reporter = reporter
        self._time_book = time_book
        self._attempts = [
            Attempt(cells[planned.cell], planned, group.name, stages[planned.cell]) for planned in group.attempts
        ]

    def run(self) -> list[AttemptRecord]:
        """Runs the group; whatever happens, everything is taken down and every attempt recorded."""
        try:
            self._count_all()
            if self._stage.breaker.finding:
                self._cut_off(self._stage.breaker.finding)
            self._search_all()
            self._time_all()
        except BaseException as error:
            what = "was interrupted" if isinstance(error, KeyboardInterrupt) else f"broke ({error!r})"
            self._cut_off(f"the run {what} before this attempt was complete")
            raise
        finally:
            # What has been measured is recorded to the last attempt; an interrupt waits until it is.
            with interrupts_held():
                records = self._finish()
        return records

    def _count_all(self) -> None:
        """Stack after stack: up, verified, counted, idle. The next one comes up while this one stands idle."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="bring-up") as helper:
            coming = helper.submit(_bring_up, self._attempts[0])
            try:
                for attempt, following in zip(self._attempts, [*self._attempts[1:], None], strict=True):
                    self._step(attempt, "up", coming.result)
                    if attempt.cell.phases:
                        self._step(attempt, "phases", attempt.run_phases)
                    else:
                        self._step(attempt, "count", attempt.count)
                    if attempt.standing:
                        self._stage.breaker.worked()
                    if self._stage.breaker.finding:
                        return
                    if following is not None:
                        coming = helper.submit(_bring_up, following)
                    if not attempt.cell.phases:
                        self._step(attempt, "idle", attempt.idle)
                    load = attempt.cell.load
                    self._reporter.advance(
                        attempt.cell.planned_seconds if attempt.cell.phases else load.count + load.idle
                    )
            except KeyboardInterrupt:
                # A start that is under way ends when what it waits for is gone, and begins nothing more.
                self._stage.stopping.set()
                self._take_down()
                raise

    def _search_all(self) -> None:
        """Step after step, in turns as the windows: the host's drift falls on all searches alike."""
        order = random.Random(f"{self._stage.seed}:search")
        while turn := [attempt for attempt in self._attempts if attempt.searching]:
            order.shuffle(turn)
            for attempt in turn:
                self._step(attempt, "search", attempt.search)
        self._reporter.advance(sum(attempt.cell.search_seconds for attempt in self._attempts))

    def _time_all(self) -> None:
        """Round after round, each standing attempt's window: in an order drawn anew, or this way and that."""
        order = random.Random(self._stage.seed)
        for number in range(max(attempt.cell.load.windows for attempt in self._attempts)):
            turn = [attempt for attempt in self._attempts if number < attempt.cell.load.windows]
            if self._group.turns == "drawn":
                order.shuffle(turn)
            elif number % 2:
                turn.reverse()
            for position, attempt in enumerate(turn):
                window = partial(attempt.window, number, position)
                self._step(attempt, f"round {number + 1}", window, name="windows")
                self._reporter.advance(attempt.cell.load.window + attempt.cell.load.lead_in)

    def _step(self, attempt: Attempt, phase: str, action: Callable[[], object], name: str | None = None) -> None:
        """One phase of one attempt, unless it has failed before; a failure is its own and the group goes on."""
        if not attempt.standing:
            return
        self._reporter.phase(attempt.cell.id, phase)
        with self._time_book.spent(name or phase):
            try:
                action()
            except DatabaseLost as error:
                # One incident, however many cells it takes with it.
                self._stage.breaker.failed(f"{self._group.name}, block {self._group.block}", str(error))
                attempt.fail(error)
            except ConnbenchError as error:
                self._stage.breaker.failed(attempt.cell.id, str(error))
                attempt.fail(error)

    def _cut_off(self, reason: str) -> None:
        for attempt in self._attempts:
            attempt.fail(Interrupted(reason))

    def _finish(self) -> list[AttemptRecord]:
        with self._time_book.spent("down"):
            self._reporter.phase(self._group.name, "stopping")
            self._take_down()
        with self._time_book.spent("recording"):
            records = []
            for attempt in self._attempts:
                self._reporter.phase(attempt.cell.id, "recording")
                records.append(attempt.record())
            # A group appears as a whole: its attempts are compared with each other, so half of one says nothing.
            for attempt, record in zip(self._attempts, records, strict=True):
                attempt.commit()
                self._report(record)
        return records

    def _take_down(self) -> None:
        """All stacks at once: it is mostly waiting."""
        with ThreadPoolExecutor(max_workers=len(self._attempts), thread_name_prefix="take-down") as helpers:
            list(helpers.map(Attempt.down, self._attempts))

    def _report(self, record: AttemptRecord) -> None:
        verdict = record.verdict
        event = "finished" if verdict.status == "ok" else verdict.status
        self._stage.folder.event(
            event, cell=record.cell, block=record.block, attempt=record.attempt, reason=verdict.reason
        )
        if verdict.status != "ok":
            self._reporter.line(f"{record.cell}, block {record.block}: {verdict.status}: {verdict.reason}")


def _bring_up(attempt: Attempt) -> None:
    attempt.up()
    attempt.verify()


def run_group(
    group: PlannedGroup,
    cells: Mapping[str, Cell],
    stages: Mapping[str, Stage],
    reporter: Reporter,
    time_book: TimeBook,
) -> Sequence[AttemptRecord]:
    """Runs one group to its end; `stages` by cell: of one group they differ in app and database at most."""
    return GroupRun(group, cells, stages, reporter, time_book).run()
