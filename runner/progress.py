"""Telling the user how far the run is: a live bar in a terminal, plain lines elsewhere; always on stderr."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Reporter(Protocol):
    """Whoever shows progress."""

    def phase(self, cell: str, phase: str) -> None:
        """The run now does this."""
        ...

    def advance(self, seconds: float) -> None:
        """Planned seconds that are done."""
        ...

    def line(self, text: str) -> None:
        """Something that stays on the screen."""
        ...


class Bar:
    """A live bar with the current cell and phase, and the time left at the pace seen up to now."""

    def __init__(self, console: Console, planned_seconds: float) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[what]:<44}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:3.0f} %"),
            TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._planned = planned_seconds
        self._done = 0.0
        self._begun = time.monotonic()
        self._task: TaskID = self._progress.add_task("", total=planned_seconds, what="setting up", left="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def phase(self, cell: str, phase: str) -> None:
        self._progress.update(self._task, what=f"{cell} · {phase}"[:44], left=self._left())

    def advance(self, seconds: float) -> None:
        self._done = min(self._planned, self._done + seconds)
        self._progress.update(self._task, completed=self._done, left=self._left())

    def line(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _left(self) -> str:
        left = time_left(self._planned, self._done, time.monotonic() - self._begun)
        return "" if left is None else f"{clock(left)} left"


class Lines:
    """One line whenever a cell's phase or the round changes: for pipes and CI, where a moving bar would be noise."""

    def __init__(self, console: Console, planned_seconds: float) -> None:
        self._console = console
        self._planned = planned_seconds
        self._done = 0.0
        self._begun = time.monotonic()
        self._phase = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def phase(self, cell: str, phase: str) -> None:
        # A window lasts a second: one line a round says enough.
        shown = phase if phase.startswith("round") else f"{cell}: {phase}"
        if shown != self._phase:
            self._phase = shown
            left = time_left(self._planned, self._done, time.monotonic() - self._begun)
            self.line(shown if left is None else f"{shown} ({clock(left)} left)")

    def advance(self, seconds: float) -> None:
        self._done = min(self._planned, self._done + seconds)

    def line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def time_left(planned: float, done: float, elapsed: float) -> float | None:
    """Seconds left at the pace seen up to now; None before a twentieth is done, when the pace says nothing."""
    if not done or done < planned / 20:
        return None
    return (planned - done) * elapsed / done


def clock(seconds: float) -> str:
    """`4:05`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def reporter(console: Console, planned_seconds: float) -> Bar | Lines:
    """What suits the console: a bar for a terminal, lines for everything else."""
    return (Bar if console.is_terminal else Lines)(console, planned_seconds)


class TimeBook:
    """Where the wall time went, by name; the parts of one thread, so that they add up to the whole."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def spent(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - begun
