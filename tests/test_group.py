"""The order of a group's phases and what a failure or an interrupt does to it, with attempts that only take notes."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest

from runner import group as grouping
from runner.breaker import Breaker
from runner.errors import ConnbenchError, DatabaseLost, Interrupted, StackError
from runner.group import run_group
from runner.matrix.cells import Cell
from runner.plan import PlannedAttempt, PlannedGroup
from runner.progress import TimeBook
from runner.results.schema import AttemptRecord, Verdict
from tests.matrix.examples import POSTGRES, SYNC, age, make_cell

if TYPE_CHECKING:
    from runner.attempt import Stage

Action = Callable[["FakeAttempt"], object]


@dataclass
class Script:
    """What happened, in order, and what is to happen in a cell's phase instead of nothing."""

    actions: Mapping[tuple[str, str], Action] = field(default_factory=dict)
    notes: list[tuple[str, ...]] = field(default_factory=list)
    failures: dict[str, list[ConnbenchError]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    advanced: float = 0.0
    book: TimeBook = field(default_factory=TimeBook)
    recorded: list[AttemptRecord] = field(default_factory=list)
    #: How many steps of a search a cell takes.
    steps: dict[str, int] = field(default_factory=dict)
    #: Cells made visible, each with the number of records that there were then.
    committed: list[tuple[str, int]] = field(default_factory=list)

    def phases(self, cell: str) -> list[str]:
        return [phase for name, phase, *_ in self.notes if name == cell]

    def rounds(self) -> list[list[str]]:
        """The cells of each round, in their order."""
        order: dict[int, list[str]] = {}
        for name, phase, *more in self.notes:
            if phase == "window":
                order.setdefault(int(more[0]), []).append(name)
                assert int(more[1]) == len(order[int(more[0])]) - 1, "its place in the round"
        return list(order.values())


class FakeAttempt:
    def __init__(self, cell: Cell, planned: PlannedAttempt, group: str, stage: Any) -> None:
        self.cell, self.planned, self.group = cell, planned, group
        self.script: Script = stage.script
        self.is_down = threading.Event()
        self.steps_left = self.script.steps.get(cell.id, 0)

    @property
    def searching(self) -> bool:
        return self.standing and self.steps_left > 0

    def search(self) -> None:
        self.steps_left -= 1
        self._note("search")

    @property
    def standing(self) -> bool:
        return self.cell.id not in self.script.failures

    def fail(self, error: ConnbenchError) -> None:
        self.script.failures.setdefault(self.cell.id, []).append(error)

    def _note(self, phase: str, *more: int) -> None:
        self.script.notes.append((self.cell.id, phase, *map(str, more)))
        if action := self.script.actions.get((self.cell.id, phase)):
            action(self)

    def up(self) -> None:
        self._note("up")

    def verify(self) -> None:
        self._note("verify")

    def count(self) -> None:
        self._note("count")

    def idle(self) -> None:
        self._note("idle")

    def window(self, number: int, position: int) -> None:
        self._note("window", number, position)

    def down(self) -> None:
        self.is_down.set()
        self._note("down")

    def commit(self) -> None:
        self.script.committed.append((self.cell.id, len(self.script.recorded)))

    def record(self) -> AttemptRecord:
        self._note("record")
        failures = self.script.failures.get(self.cell.id)
        verdict = Verdict(status="failed", reason=str(failures[0])) if failures else Verdict(status="ok")
        record = AttemptRecord(
            cell=self.cell.id, block=1, attempt=1, group=self.group, verdict=verdict, started_at="", clock_zero=0.0
        )
        self.script.recorded.append(record)
        return record


class FakeReporter:
    def __init__(self, script: Script) -> None:
        self._script = script

    def phase(self, cell: str, phase: str) -> None:
        pass

    def advance(self, seconds: float) -> None:
        self._script.advanced += seconds

    def line(self, text: str) -> None:
        self._script.lines.append(text)


@pytest.fixture(autouse=True)
def _fake_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "Attempt", FakeAttempt)


def run(
    script: Script,
    *names: str,
    seed: str = "1",
    windows: Mapping[str, int] | None = None,
    turns: Literal["drawn", "ABBA"] = "drawn",
) -> dict[str, AttemptRecord]:
    cells = {
        name: replace(make_cell(POSTGRES, SYNC, age(0), windows=(windows or {}).get(name, 2)), id=name)
        for name in names
    }
    planned = tuple(PlannedAttempt(1, "pg", name, 1, order) for order, name in enumerate(names, start=1))
    folder = SimpleNamespace(event=lambda kind, **fields: script.events.append({"event": kind, **fields}))
    stage = cast(
        "Stage", SimpleNamespace(script=script, seed=seed, folder=folder, stopping=threading.Event(), breaker=Breaker())
    )
    group = PlannedGroup(1, "pg", "pg", 1, planned, turns)
    records = run_group(group, cells, dict.fromkeys(names, stage), FakeReporter(script), script.book)
    return {record.cell: record for record in records}


def raising(error: BaseException) -> Action:
    def action(_: FakeAttempt) -> None:
        raise error

    return action


def test_each_attempt_goes_through_its_phases_in_order() -> None:
    script = Script()
    records = run(script, "a", "b", "c")
    for name in "abc":
        assert script.phases(name) == ["up", "verify", "count", "idle", "window", "window", "down", "record"]
    assert [record.verdict.status for record in records.values()] == ["ok"] * 3
    assert list(records) == ["a", "b", "c"]


def test_counts_come_one_after_the_other_and_windows_after_all_of_them() -> None:
    script = Script()
    run(script, "a", "b", "c")
    counting = [(name, phase) for name, phase, *_ in script.notes if phase in ("count", "idle")]
    assert counting == [(name, phase) for name in "abc" for phase in ("count", "idle")]
    phases = [phase for _, phase, *_ in script.notes]
    assert phases.index("window") > max(place for place, phase in enumerate(phases) if phase == "idle")
    assert phases.index("down") > max(place for place, phase in enumerate(phases) if phase == "window")


def test_searches_take_turns_until_each_is_over_and_windows_come_after_them() -> None:
    script = Script()
    script.steps = {"a": 1, "c": 3}
    run(script, "a", "b", "c")
    notes = [(name, phase) for name, phase, *_ in script.notes]
    steps = [name for name, phase in notes if phase == "search"]
    assert sorted(steps[:2]) == ["a", "c"], "one step each before anybody has a second"
    assert steps[2:] == ["c", "c"]
    phases = [phase for _, phase in notes]
    assert phases.index("window") > max(place for place, phase in enumerate(phases) if phase == "search")
    assert phases.index("search") > max(place for place, phase in enumerate(phases) if phase == "idle")


def test_nothing_is_started_while_another_is_counted() -> None:
    """The next stack comes up while the last one stands idle, and never under its load."""
    together, counting = [], threading.Event()

    def count(_: FakeAttempt) -> None:
        counting.set()
        time.sleep(0.03)
        counting.clear()

    def up(attempt: FakeAttempt) -> None:
        if counting.is_set():
            together.append(attempt.cell.id)

    came_up = threading.Event()
    actions: dict[tuple[str, str], Action] = {(name, "count"): count for name in "abc"}
    actions |= {(name, "up"): up for name in "abc"}
    actions["b", "verify"] = lambda _: came_up.set()
    # If the next one came up only afterwards, this would wait in vain.
    actions["a", "idle"] = lambda _: None if came_up.wait(60) else pytest.fail("the next stack did not come up")
    run(Script(actions), "a", "b", "c")
    assert together == []


def test_the_order_of_windows_is_drawn_anew_each_round() -> None:
    windows = dict.fromkeys("abcdef", 12)
    first, again, other = Script(), Script(), Script()
    run(first, *"abcdef", seed="7", windows=windows)
    run(again, *"abcdef", seed="7", windows=windows)
    run(other, *"abcdef", seed="8", windows=windows)
    rounds = first.rounds()
    assert len(rounds) == 12
    assert all(sorted(turn) == list("abcdef") for turn in rounds), "each once a round: windows interleave"
    assert len({tuple(turn) for turn in rounds}) > 6
    assert again.rounds() == rounds, "the same seed, the same order"
    assert other.rounds() != rounds


def test_two_may_take_turns_as_in_abba() -> None:
    script = Script()
    run(script, "a", "b", windows={"a": 4, "b": 4}, turns="ABBA")
    assert script.rounds() == [["a", "b"], ["b", "a"], ["a", "b"], ["b", "a"]]


def test_a_group_becomes_visible_as_a_whole() -> None:
    script = Script()
    run(script, "a", "b", "c")
    assert script.committed == [("a", 3), ("b", 3), ("c", 3)]


def test_three_in_a_row_that_fail_alike_end_the_group() -> None:
    names = ("cell-a", "cell-b", "cell-c", "cell-d", "cell-e")

    def failing(place: int) -> Action:
        text = f"app of {names[place]} ended while starting; its log ends:\n[{place}] beginning\n12:0{place} no module"
        return raising(StackError(text))

    script = Script({(name, "up"): failing(place) for place, name in enumerate(names[:4])})
    records = run(script, *names)
    assert [script.phases(name)[:1] for name in names] == [["up"], ["up"], ["up"], ["down"], ["down"]]
    assert all("no module" in record.verdict.reason for record in records.values())
    assert "(cell-a, cell-b, cell-c), so the run was stopped" in records["cell-e"].verdict.reason
    assert len(script.committed) == 5


def test_failures_that_differ_or_have_a_success_between_them_end_nothing() -> None:
    alike = raising(StackError("the same"))
    script = Script({(name, "count"): alike for name in "abde"})
    assert run(script, "a", "b", "c", "d", "e", "f")["f"].verdict.status == "ok"
    script = Script({("a", "up"): alike, ("b", "up"): raising(StackError("another")), ("c", "up"): alike})
    assert run(script, "a", "b", "c", "d")["d"].verdict.status == "ok"


def test_a_database_that_is_lost_is_one_incident() -> None:
    lost = raising(DatabaseLost("pg ended"))
    script = Script({(name, "window"): lost for name in "abcd"})
    records = run(script, "a", "b", "c", "d", "e")
    assert records["e"].verdict.status == "ok"
    assert {records[name].verdict.reason for name in "abcd"} == {"pg ended"}


def test_cells_may_have_different_numbers_of_windows() -> None:
    script = Script()
    run(script, "a", "b", "c", windows={"a": 3, "b": 1, "c": 0})
    assert [sorted(turn) for turn in script.rounds()] == [["a", "b"], ["a"], ["a"]]
    assert script.phases("c") == ["up", "verify", "count", "idle", "down", "record"]


@pytest.mark.parametrize("phase", ["up", "verify", "count", "idle", "window"])
def test_a_failing_attempt_does_not_stop_the_others(phase: str) -> None:
    script = Script({("b", phase): raising(StackError(f"{phase} went wrong"))})
    records = run(script, "a", "b", "c")
    whole = ["up", "verify", "count", "idle", "window", "window", "down", "record"]
    assert script.phases("a") == script.phases("c") == whole
    assert script.phases("b") == [*whole[: whole.index(phase) + 1], "down", "record"], "nothing after its failure"
    assert {name: record.verdict.status for name, record in records.items()} == {"a": "ok", "b": "failed", "c": "ok"}
    assert records["b"].verdict.reason == f"{phase} went wrong"
    assert script.lines == [f"b, block 1: failed: {phase} went wrong"]
    assert [(event["event"], event["cell"]) for event in script.events] == [
        ("finished", "a"),
        ("failed", "b"),
        ("finished", "c"),
    ]


def test_the_first_and_the_last_may_fail_to_come_up() -> None:
    actions = {(name, "up"): raising(StackError("no")) for name in "ac"}
    script = Script(actions)
    records = run(script, "a", "b", "c")
    assert [record.verdict.status for record in records.values()] == ["failed", "ok", "failed"]
    assert script.phases("b").count("window") == 2


def test_a_failure_takes_its_planned_time_with_it() -> None:
    """The bar still gets to its end."""
    cells = 3 * (4.0 + 2.0 + 2 * (1.0 + 0.3))
    for actions in ({}, {("b", "up"): raising(StackError("no"))}):
        script = Script(actions)
        run(script, "a", "b", "c")
        assert script.advanced == pytest.approx(cells)


@pytest.mark.parametrize("phase", ["count", "idle", "window"])
def test_an_interrupt_takes_all_down_and_records_all(phase: str) -> None:
    script = Script({("b", phase): raising(KeyboardInterrupt())})
    with pytest.raises(KeyboardInterrupt):
        run(script, "a", "b", "c")
    for name in "abc":
        assert "down" in script.phases(name)
        assert script.phases(name)[-1] == "record"
        assert isinstance(script.failures[name][0], Interrupted)
    assert [record.verdict.status for record in script.recorded] == ["failed"] * 3
    assert all("interrupted" in record.verdict.reason for record in script.recorded)
    assert len([phase for _, phase, *_ in script.notes if phase == "record"]) == 3


def test_what_failed_before_the_interrupt_keeps_its_reason() -> None:
    script = Script(
        {("a", "count"): raising(StackError("out of memory")), ("b", "count"): raising(KeyboardInterrupt())}
    )
    with pytest.raises(KeyboardInterrupt):
        run(script, "a", "b")
    assert script.recorded[0].verdict.reason == "out of memory"


def test_an_interrupt_ends_a_start_that_is_under_way() -> None:
    """A start waits for its server; when that is taken down it ends, and so does the group."""

    def up(attempt: FakeAttempt) -> None:
        assert attempt.is_down.wait(20), "nobody took it down"
        raise StackError("it ended while starting")

    def idle(_: FakeAttempt) -> None:
        time.sleep(0.05)
        raise KeyboardInterrupt

    script = Script({("b", "up"): up, ("a", "idle"): idle})
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(script, "a", "b")
    assert time.monotonic() - begun < 15
    assert [record.cell for record in script.recorded] == ["a", "b"]


def test_an_error_of_our_own_still_takes_all_down_and_is_not_hidden() -> None:
    script = Script({("b", "count"): raising(ZeroDivisionError())})
    with pytest.raises(ZeroDivisionError):
        run(script, "a", "b")
    assert [script.phases(name)[-2:] for name in "ab"] == [["down", "record"]] * 2


def test_wall_time_is_booked_by_phase() -> None:
    script = Script({("a", "count"): lambda _: time.sleep(0.02), ("b", "window"): lambda _: time.sleep(0.02)})
    run(script, "a", "b")
    assert set(script.book.seconds) == {"up", "count", "idle", "windows", "down", "recording"}
    assert script.book.seconds["count"] >= 0.02
    assert script.book.seconds["windows"] >= 0.04
