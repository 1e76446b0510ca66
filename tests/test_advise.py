"""`connbench advise` as its users meet it: what it refuses, its pace, and one whole search on real servers."""

import json
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from runner.advise import MOST_BLOCKS, AdviseOptions, _Pace, advice_of, run_advise
from runner.analysis.advice import State
from runner.analysis.advice_model import Question
from runner.bench import Options
from runner.contest import make_search
from runner.errors import UsageError
from runner.matrix.limits import AdviseSpec
from runner.plan import MOST_TOGETHER, Plan, plan_of_rounds, regrouped
from runner.progress import Lines
from runner.results.store import open_run
from runner.stacks.app import load_app
from tests.matrix.examples import MYSQL, POSTGRES, UWSGI, age, make_cell, make_matrix
from tests.processes import ROOT, Family, connbench
from tests.synthetic import write_run

MATRIX = ROOT / "tests" / "matrices" / "advise.yaml"
LIMIT = 580


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"within": "10s"}, "a coarse pass alone takes about 28 s, and there are 10 s"),
        ({"within": "10"}, "--within: '10' is no duration"),
        ({"headroom": "20"}, "--headroom: found '20', allowed: a percentage"),
        ({"memory": "2G"}, "--memory: found '2G', allowed: a size such as '512MB'"),
        ({"max_connections": 0}, "--max-connections: found 0, allowed: 1 or more"),
        ({"max_connections": 5, "hosts": 9}, "every setting is ruled out before it is measured, such as pg-few-"),
        ({"present": "server=nobody"}, "--present: server: found 'nobody'"),
    ],
)
def test_what_cannot_be_advised_is_refused(tmp_path: Path, limits: dict[str, Any], words: str) -> None:
    """Before anything is started or written."""
    options = AdviseOptions(Options(matrix=MATRIX, out=tmp_path / "out"), limits)
    with pytest.raises(UsageError) as refusal:
        run_advise(options, Console(), Console(stderr=True))
    assert words in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_the_matrix_s_limits_give_way_to_the_command_line_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At 60 connections 240 do not fit, at 1000 they do; what is refused in the end is the time."""
    for limits, words in (({}, "not measured: pg-lots-forever: 120 connections"), ({"max_connections": 1000}, "")):
        options = AdviseOptions(Options(matrix=MATRIX, out=tmp_path / "out"), {**limits, "within": "1s"})
        with pytest.raises(UsageError):
            run_advise(options, Console(), Console(stderr=True, width=300))
        told = capsys.readouterr().err
        assert "a coarse pass of about" in told
        assert (words in told) if words else ("not measured" not in told)


def cells(count: int, database: dict[str, Any] = POSTGRES, name: str = "pg") -> list[Any]:
    made = make_cell(database, UWSGI, age(60))
    return [replace(made, id=f"{name}-{number:02}", database_name=name) for number in range(count)]


def test_groups_are_drawn_anew_so_that_in_time_all_meet() -> None:
    plan = plan_of_rounds(cells(40), make_matrix({"connection": ["forever"]}), 7, 6)
    met: set[tuple[str, str]] = set()
    for block in range(1, 7):
        groups = regrouped(plan, block, set(plan.cells))
        members = [planned.cell for group in groups for planned in group.attempts]
        assert sorted(members) == sorted(plan.cells)
        assert all(len(group.attempts) <= MOST_TOGETHER for group in groups)
        assert len({group.name for group in groups}) == len(groups)
        for group in groups:
            met |= {(one.cell, two.cell) for one in group.attempts for two in group.attempts}
    assert len(met) > 0.6 * 40 * 40


def test_who_is_left_of_several_groups_comes_together_on_its_own_database() -> None:
    plan = plan_of_rounds([*cells(40), *cells(3, MYSQL, "my")], make_matrix({"connection": ["forever"]}), 7, 4)
    groups = regrouped(plan, 3, {"pg-01", "pg-17", "pg-39", "my-02"})
    assert {(group.database_key, len(group.attempts)) for group in groups} == {("pg", 3), ("my", 1)}
    planned = {group.database_key for group in plan.groups}
    assert {group.database_key for group in groups} <= planned
    assert regrouped(plan, 3, ["pg-01"]) == regrouped(plan, 3, ["pg-01"]), "the same for the same seed"
    assert regrouped(plan, 3, []) == ()


def test_no_cell_is_lost_to_another_of_its_id() -> None:
    with pytest.raises(AssertionError, match="two cells of one id"):
        plan_of_rounds([*cells(2), *cells(1)], make_matrix({"connection": ["forever"]}), 7, 2)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def paced(tmp_path: Path, within: str) -> tuple[_Pace, Question, Plan, Clock]:
    matrix = make_matrix(
        {
            "database": ["pg"],
            "server": ["sync", "uwsgi"],
            "connection": ["per-request", "forever"],
            "servers.uwsgi.threads": [1, 2, 4],
        }
    )
    limits = AdviseSpec.model_validate({"within": within})
    found = make_search(matrix, limits, load_app("shop"), 5)
    plan = plan_of_rounds(found.cells, matrix, 7, MOST_BLOCKS)
    clock = Clock()
    folder = write_run(tmp_path, [], blocks=0)
    return _Pace(plan, folder, found.question, Lines(Console(quiet=True), 1.0), clock), found.question, plan, clock


def chosen(pace: _Pace, plan: Plan, block: int) -> set[str]:
    groups = [group for group in plan.groups if group.block == block]
    return {planned.cell for group in pace.choose(block, groups) for planned in group.attempts}


def told(monkeypatch: pytest.MonkeyPatch, question: Question, racing: Sequence[str], decided: bool = False) -> None:
    states = [State(question.contests[0].name, racing, racing[-1], decided, 2)]
    monkeypatch.setattr("runner.advise.states", lambda *_: states)


def test_the_better_half_goes_on_where_there_is_no_time_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight cells, a block of six minutes each: ten blocks of all of them are more than 45."""
    pace, question, plan, clock = paced(tmp_path, "45m")
    present = question.contests[0].present
    racing = [cell for cell in plan.cells if cell != present]
    assert len(racing) == 7
    went_on: list[set[str]] = []
    for block in range(1, 7):
        told(monkeypatch, question, racing)
        went_on.append(chosen(pace, plan, block))
        clock.now += 45 * len(went_on[-1])
        assert not pace.enough(block)
        racing = [cell for cell in racing if block == 1 or cell in chosen(pace, plan, block + 1)]
    everybody = set(plan.cells)
    assert went_on[:2] == [everybody, everybody], "the coarse pass is everybody's"
    # The last one is the simplest, and stays; so do the settings of today.
    order = [cell for cell in plan.cells if cell != present]
    assert went_on[2] == went_on[3] == {*order[:4], order[-1], present}
    assert went_on[4] == went_on[5] == {*order[:3], order[-1], present}


def test_as_many_are_left_as_there_is_time_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks of ten minutes, and nine minutes left: for two more blocks of three cells."""
    pace, question, plan, clock = paced(tmp_path, "29m")
    order = [cell for cell in plan.cells if cell != question.contests[0].present]
    told(monkeypatch, question, order)
    for block in (1, 2):
        chosen(pace, plan, block)
        clock.now += 600
        assert not pace.enough(block)
    assert chosen(pace, plan, 3) == {*order[:2], order[-1], question.contests[0].present}


def test_no_block_is_begun_that_would_not_end_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pace, question, plan, clock = paced(tmp_path, "16m")
    told(monkeypatch, question, list(plan.cells))
    chosen(pace, plan, 1)
    clock.now = 600
    assert pace.enough(1)


def test_it_ends_with_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pace, question, plan, clock = paced(tmp_path, "60m")
    for block, decided in ((1, False), (2, False), (3, True)):
        told(monkeypatch, question, list(plan.cells)[:2], decided)
        chosen(pace, plan, block)
        clock.now += 10
        assert pace.enough(block) is decided


@pytest.mark.server
@pytest.mark.alone
@pytest.mark.timeout(600)
def test_eight_threads_are_advised_to_eight_clients(tmp_path: Path) -> None:
    """Requests sleep in the database: two threads make a quarter of what eight do, and 120 do not fit in the budget."""
    log = tmp_path / "log"
    asked = ["--within", "45s", "--out", str(tmp_path / "out"), "--wait"]
    process = connbench(["advise", "-m", str(MATRIX), *asked], log)
    family = Family(process.pid)
    family.watch_until(lambda: process.poll() is not None, LIMIT)
    assert family.alive() == []
    folder = open_run(tmp_path / "out" / "latest")
    (found,) = advice_of(folder).contests
    places = {place.cell: place for place in found.places}
    assert "120 connections for a room of 51" in places["pg-lots-forever"].reason
    assert places["pg-lots-forever"].blocks == 0
    # On a busy machine the time may be over before anything can be recommended: that is an answer too.
    assert process.returncode == (0 if found.cell else 1), log.read_text()
    assert found.cell not in ("pg-few-per-request", "pg-lots-forever")
    if found.cell is not None:
        assert found.gain is not None
        assert found.gain.value is not None
        assert found.gain.value > 1.5
        assert found.budget is not None
        assert found.budget.fault is not None
        assert found.budget.fault <= found.budget.room
        text = log.read_text()
        assert 'for database in [DATABASES["default"]]:' in text
        assert "uwsgi --master" in text
    end = folder.end()
    assert end is not None
    assert end.status == "finished"
    assert len(end.databases) == 1, "one server for all blocks, started once"
    run = folder.run()
    assert {cell.reference for cell in run.cells} == {"pg-few-per-request"}
    assert {skipped.id: skipped.reason.partition(" ")[0] for skipped in run.skipped} == {
        "pg-few-forever": "excluded",
        "pg-lots-per-request": "excluded",
        "pg-lots-forever": "120",
    }
    assert (folder.path / "report.html").exists()
    assert json.loads((folder.path / "advise.json").read_text())["contests"][0]["present"] == "pg-few-per-request"


@pytest.mark.server
@pytest.mark.alone
@pytest.mark.timeout(600)
def test_an_interrupted_search_advises_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = connbench(["advise", "-m", str(MATRIX), "--out", str(tmp_path / "out"), "--wait"], log)
    try:
        family = Family(process.pid)
        events = tmp_path / "out" / "latest" / "events.jsonl"
        family.watch_until(lambda: events.exists() and "started" in events.read_text(), LIMIT)
        process.send_signal(signal.SIGINT)
        family.watch_until(lambda: process.poll() is not None, LIMIT)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert family.alive() == []
    assert "so there is no advice" in log.read_text()
    advice = advice_of(open_run(tmp_path / "out" / "latest"))
    assert not advice.finished
    assert all(contest.cell is None for contest in advice.contests)
