"""What the user sees of a run while it goes on."""

import io
import time

import pytest
from rich.console import Console

from runner.progress import Bar, Lines, TimeBook, clock, reporter, time_left


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    screen = io.StringIO()
    return Console(file=screen, force_terminal=terminal, width=120), screen


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (245, "4:05"), (3599.7, "1:00:00"), (3723, "1:02:03")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_time_left_goes_by_the_pace_seen() -> None:
    assert time_left(planned=100, done=25, elapsed=50) == pytest.approx(150)
    assert time_left(planned=100, done=100, elapsed=120) == 0
    assert time_left(planned=100, done=4.9, elapsed=20) is None, "too early to tell"
    assert time_left(planned=100, done=5, elapsed=10) == pytest.approx(190)


def test_a_terminal_gets_a_bar_and_everything_else_lines() -> None:
    assert isinstance(reporter(console(terminal=True)[0], 10), Bar)
    assert isinstance(reporter(console(terminal=False)[0], 10), Lines)


def test_lines_are_plain_and_one_for_each_change() -> None:
    screen, output = console(terminal=False)
    with Lines(screen, 100) as lines:
        lines.phase("pg-sync", "count")
        lines.phase("pg-sync", "count")
        lines.phase("pg-uwsgi", "count")
        lines.phase("pg-sync", "round 1")
        lines.phase("pg-uwsgi", "round 1")
        lines.phase("pg-uwsgi", "round 2")
    assert output.getvalue().splitlines() == ["pg-sync: count", "pg-uwsgi: count", "round 1", "round 2"]


def test_lines_tell_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    screen, output = console(terminal=False)
    lines = Lines(screen, 100)
    now += 30
    lines.advance(20)
    lines.phase("pg-sync", "idle")
    lines.advance(500)
    lines.phase("pg-sync", "down")
    assert output.getvalue().splitlines() == ["pg-sync: idle (2:00 left)", "pg-sync: down (0:00 left)"]


def test_a_long_line_is_not_broken_and_brackets_are_no_markup() -> None:
    text = "pg: failed: [Errno 98] " + "x" * 200 + " [/]"
    screen, output = console(terminal=False)
    Lines(screen, 1).line(text)
    assert output.getvalue() == text + "\n"


def test_the_bar_shows_cell_phase_share_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, output = console(terminal=True)
    begun = time.monotonic()
    with Bar(screen, 100) as bar:
        monkeypatch.setattr(time, "monotonic", lambda: begun + 50)
        bar.advance(25)
        bar.phase("pg-sync-forever", "round 3")
        bar.line("something [red]stays[/]")
    shown = output.getvalue()
    assert "pg-sync-forever · round 3" in shown
    assert " 25 %" in shown
    assert "2:30 left" in shown
    assert "something [red]stays[/]" in shown


def test_time_book_adds_up_by_name_and_counts_failures_too() -> None:
    book, began = TimeBook(), time.monotonic()
    for _ in range(2):
        with book.spent("count"):
            time.sleep(0.02)

    def fail() -> None:
        with book.spent("down"):
            time.sleep(0.01)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert set(book.seconds) == {"count", "down"}
    assert book.seconds["count"] >= 0.04
    assert book.seconds["down"] >= 0.01
    assert sum(book.seconds.values()) <= time.monotonic() - began
