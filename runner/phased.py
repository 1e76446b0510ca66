"""A cell's own phases, one after the other: load, standing still, commands, faults."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner import waiting
from runner.errors import StackError
from runner.evidence import Strike
from runner.matrix.phases import Fault, PhaseSpec, segments
from runner.provision.service import Address, Service
from runner.results.schema import CommandRun

if TYPE_CHECKING:
    from runner.attempt import Attempt


@dataclass(frozen=True)
class _Running:
    phase: PhaseSpec
    service: Service
    begun: float


class PhaseRun:
    """The measured part of one attempt whose cell has phases."""

    def __init__(self, attempt: "Attempt") -> None:
        self._attempt = attempt
        self._beside: list[_Running] = []

    def run(self) -> None:
        """Returns when the last phase is over and every command has ended; leaves no command running."""
        try:
            for segment in segments(self._attempt.cell.phases):
                with self._under_load() if segment.loaded else nullcontext():
                    for index, phase in segment.phases:
                        with self._attempt.phase(_kind(phase), index):
                            self._one(index, phase)
            for running in self._beside:
                self._await(running)
        finally:
            for running in self._beside:
                self._attempt.stage.provider.stop(running.service)

    @contextmanager
    def _under_load(self) -> Iterator[None]:
        attempt = self._attempt
        load, number = attempt.cell.load, len(attempt.evidence.drives)
        with attempt.watching(with_memory=True) as watch:
            attempt.load.begin(users=load.users, seed=f"{attempt.stage.seed}:drive:{number}", **load.pace)
            yield
            driven = attempt.load.end()
        attempt.evidence.drives.append(watch.stretch(driven))

    def _one(self, index: int, phase: PhaseSpec) -> None:
        if phase.command is not None:
            self._command(index, phase)
        elif phase.fault is not None:
            begun = self._strike(phase.fault, phase.pause)
            self._attempt.evidence.strikes.append(Strike(phase.fault, begun, time.monotonic()))
        else:
            time.sleep(phase.seconds)

    def _strike(self, fault: Fault, pause: float) -> float:
        """Does it, and returns the moment when it struck."""
        begun = time.monotonic()
        attempt, prepared = self._attempt, self._attempt.stage.prepared
        if fault == "reload-workers":
            number = attempt.cell.server.reload_signal
            assert number is not None, "a cell whose server cannot reload is skipped"
            attempt.app.server.signal(number)
            return begun
        with prepared.alone() as database:
            if fault == "restart-database":
                database.restart()
            elif fault == "kill-connections":
                database.kill_connections(attempt.account)
            else:
                try:
                    database.pause()
                    # Until now one or the other of its processes may have answered.
                    begun = time.monotonic()
                    time.sleep(pause)
                finally:
                    database.resume()
        return begun

    def _command(self, index: int, phase: PhaseSpec) -> None:
        attempt = self._attempt
        if phase.replaces_server:
            attempt.app.stop()
        name, log = f"{phase.title} of {attempt.cell.id}", attempt.log(f"command-{index + 1}")
        command = attempt.app.management_command(phase.command or (), attempt.account)
        service = attempt.stage.provider.start(name, command, Address("", 0), log)
        running = _Running(phase, service, time.monotonic())
        self._beside.append(running)
        if phase.replaces_server:
            self._await(running)
            self._beside.remove(running)

    def _await(self, running: _Running) -> None:
        """Its exit is a figure and no failure of the attempt; that it does not end at all is one."""
        service, title = running.service, running.phase.title
        if not service.wait(waiting.MANAGEMENT_COMMAND):
            limit = f"{waiting.MANAGEMENT_COMMAND:.0f} s"
            raise StackError(f"{title} did not end within {limit}; its log ends:\n{service.log_tail()}")
        ended = time.monotonic()
        self._attempt.stage.provider.stop(service)
        self._attempt.evidence.commands.append(
            CommandRun(
                command=title,
                beside=running.phase.beside,
                offset=running.begun - self._attempt.evidence.clock_zero,
                seconds=ended - running.begun,
                exit_code=service.exit_code or 0,
                last_line=service.log_tail(1),
                log=service.log_path.name,
            )
        )


def _kind(phase: PhaseSpec) -> str:
    if phase.command is not None:
        return "command"
    if phase.fault is not None:
        return "fault"
    return "drive" if phase.drive is not None else "idle"
