"""What is advised on runs with a known truth: the best, ties told as ties, and nothing that breaks a limit."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.analysis.advice import advise, states
from runner.analysis.advice_model import Candidate, Contest, ContestAdvice, Paste, Question
from runner.analysis.budget import budget_of
from runner.analysis.summary import summarise
from runner.matrix.limits import AdviseSpec
from runner.report.advice import sentences
from runner.results.schema import ErrorKind, Verdict
from runner.results.store import RunFolder
from tests.synthetic import Model, models, prediction, searched, write_run

LOOKS = 11
PRESENT = "pg-sync-per-request"
QUICK, SLOW, HALF = 600.0, 300.0, 450.0


def cells(**rates: float) -> list[Model]:
    """Cells by name with their rates; the present one at HALF unless told."""
    first = models()[0]
    wanted = {PRESENT: HALF, **rates}
    return [replace(first, name=name, rps=rate, p50=16e3 / rate * 0.8) for name, rate in wanted.items()]


def question(
    cells: Sequence[Model],
    limits: AdviseSpec | None = None,
    metric: str = "throughput_rps",
    ruled_out: dict[str, str] | None = None,
) -> Question:
    """Simplicity is the order in which the cells stand."""
    candidates = [
        Candidate(
            cell=model.id,
            budget=budget_of(prediction(16), prediction(16), 1, 97, behind_pooler=False),
            simplicity=[place],
            paste=Paste(settings=f"# {model.id}", command="run"),
            ruled_out=(ruled_out or {}).get(model.id, ""),
        )
        for place, model in enumerate(cells)
    ]
    contest = Contest(name="pg", metric=metric, present=PRESENT, candidates=candidates)
    return Question(limits=limits or AdviseSpec(), looks=LOOKS, contests=[contest])


def advised(
    tmp_path: Path, cells: Sequence[Model], blocks: int = 8, metric: str = "throughput_rps", **limits: Any
) -> ContestAdvice:
    asked = question(cells, AdviseSpec.model_validate(limits), metric)
    return advise(write_run(tmp_path, cells, blocks=blocks), asked, finished=True).contests[0]


def standings(advice: ContestAdvice) -> dict[str, str]:
    return {place.cell: place.standing for place in advice.places}


def without_block(folder: RunFolder, cell: str, *blocks: int) -> None:
    for block in blocks:
        shutil.rmtree(folder.attempt_path(cell, block, 0))


def test_what_is_much_better_is_recommended_with_its_gain(tmp_path: Path) -> None:
    found = advised(tmp_path, cells(a=QUICK, b=SLOW, c=SLOW))
    assert (found.verdict, found.cell, found.leader, found.level_with) == ("best", "a", "a", [])
    assert found.gain is not None
    assert found.gain.low is not None
    assert found.gain.high is not None
    assert found.gain.low < QUICK / HALF < found.gain.high
    assert found.paste == Paste(settings="# a", command="run")
    assert standings(found) == {"a": "best", PRESENT: "slower", "b": "slower", "c": "slower"}
    assert [place.blocks for place in found.places] == [8, 8, 8, 8]


def test_of_equals_the_simplest_is_recommended_and_the_others_named(tmp_path: Path) -> None:
    found = advised(tmp_path, cells(a=QUICK, b=QUICK, c=QUICK, d=SLOW))
    assert (found.verdict, found.cell) == ("level", "a")
    assert {found.leader, found.cell, *found.level_with} == {"a", "b", "c"}
    assert found.detectable is not None
    assert 0 < found.detectable < 0.25


def test_the_simplest_is_named_alone_where_it_is_further_behind_than_a_standard_error(tmp_path: Path) -> None:
    found = advised(tmp_path, cells(a=QUICK * 0.96, b=QUICK, c=QUICK, d=SLOW))
    assert found.verdict == "level"
    assert {found.leader, *found.level_with} == {"a", "b", "c"}
    assert (found.cell, found.simpler_still) == ("b", "a")


def test_nothing_gains_on_the_settings_of_today_where_they_are_as_good(tmp_path: Path) -> None:
    found = advised(tmp_path, cells(**{PRESENT: QUICK}, a=QUICK, b=SLOW))
    assert (found.cell, found.gain) == (PRESENT, None)


@pytest.mark.parametrize("blocks", [1, 2])
def test_too_few_blocks_recommend_nothing(tmp_path: Path, blocks: int) -> None:
    found = advised(tmp_path, cells(a=QUICK, b=SLOW, c=SLOW, d=SLOW), blocks=blocks)
    assert (found.verdict, found.cell, found.paste, found.budget) == ("underpowered", None, None, None)


def test_what_too_few_blocks_cannot_beat_is_not_called_as_good(tmp_path: Path) -> None:
    """Three settings, three blocks, one figure missing: however slow the settings of today, nothing has shown it."""
    chosen = cells(a=QUICK, b=QUICK * 0.7, **{PRESENT: QUICK / 5})
    folder = write_run(tmp_path, chosen, blocks=3)
    without_block(folder, "b", 3)
    found = advise(folder, question(chosen), finished=True).contests[0]
    assert (found.verdict, found.cell, found.detectable) == ("underpowered", None, None)


def test_a_run_without_any_attempt_recommends_nothing(tmp_path: Path) -> None:
    found = advised(tmp_path, cells(a=QUICK), blocks=0)
    assert (found.verdict, found.cell, found.reason) == ("none", None, "nothing was measured")


def test_where_every_setting_is_ruled_out_beforehand_that_is_the_reason(tmp_path: Path) -> None:
    chosen = cells(a=QUICK)
    asked = question(chosen, ruled_out={"a": "too many", PRESENT: "too many too"})
    found = advise(write_run(tmp_path, [], blocks=0), asked, finished=True).contests[0]
    assert (found.verdict, found.reason) == ("none", "every setting is ruled out before it is measured")
    assert {(place.cell, place.reason) for place in found.places} == {("a", "too many"), (PRESENT, "too many too")}
    assert [one.decided for one in states(write_run(tmp_path / "more", [], blocks=0), asked)] == [True]


def test_a_database_that_did_not_come_up_is_no_fault_of_the_settings(tmp_path: Path) -> None:
    lost = {block: Verdict(status="failed", reason="no space left\nlog") for block in range(1, 9)}
    found = advised(tmp_path, [replace(model, verdicts=lost) for model in cells(a=QUICK, b=SLOW)])
    assert (found.verdict, found.cell) == ("none", None)
    assert found.reason == "nothing could be measured: no space left"


BROKEN: dict[str, dict[str, Any]] = {
    "refused": {"errors": {"http-500": ErrorKind(count=3, example="too many clients")}},
    "failed": {"verdicts": {2: Verdict(status="failed", reason="it did not come up\nlog")}},
    "invalid": {"verdicts": {block: Verdict(status="invalid", reason="counts differ") for block in (2, 3)}},
    "greedy": {"peak": 60},
}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("refused", "requests failed"),
        ("failed", "failed: it did not come up"),
        ("invalid", "invalid: counts differ"),
        ("greedy", "120 connections for a room of 97"),
    ],
)
def test_the_quickest_is_not_recommended_where_it_breaks(tmp_path: Path, name: str, words: str) -> None:
    chosen = [
        replace(model, **BROKEN[name]) if model.id == "bad" else model for model in cells(bad=900, a=QUICK, b=SLOW)
    ]
    found = advised(tmp_path, chosen)
    assert found.cell == "a"
    (bad,) = (place for place in found.places if place.cell == "bad")
    assert bad.standing == "ruled out"
    assert words in bad.reason


def test_one_invalid_attempt_rules_nobody_out(tmp_path: Path) -> None:
    once = {3: Verdict(status="invalid", reason="counts differ")}
    chosen = [replace(model, verdicts=once) if model.id == "a" else model for model in cells(a=QUICK, b=SLOW, c=SLOW)]
    assert advised(tmp_path, chosen).cell == "a"


def test_what_was_ruled_out_beforehand_is_told_and_nothing_else_of_it(tmp_path: Path) -> None:
    chosen = cells(a=QUICK, b=SLOW)
    asked = question([*chosen, *cells(huge=900)[1:]], ruled_out={"huge": "120 connections for a room of 97"})
    found = advise(write_run(tmp_path, chosen, blocks=8), asked, finished=True).contests[0]
    (huge,) = (place for place in found.places if place.cell == "huge")
    assert (found.cell, huge.standing, huge.blocks, huge.value) == ("a", "ruled out", 0, None)


def test_today_s_settings_may_be_over_the_budget_and_are_still_what_is_gained_on(tmp_path: Path) -> None:
    chosen = cells(a=QUICK, b=SLOW)
    asked = question(chosen, ruled_out={PRESENT: "too many"})
    found = advise(write_run(tmp_path, chosen, blocks=8), asked, finished=True).contests[0]
    assert found.cell == "a"
    assert found.gain is not None
    assert standings(found)[PRESENT] == "ruled out"


def test_a_time_that_is_missed_leaves_the_next_best(tmp_path: Path) -> None:
    """At 900 a second p95 is 34 ms; `quick` answers in 60."""
    chosen = [
        replace(model, p50=60 / 2.4) if model.id == "quick" else model for model in cells(quick=900, a=QUICK, b=SLOW)
    ]
    found = advised(tmp_path, chosen, p95="55ms")
    assert found.cell == "a"
    assert "p95 is" in next(place.reason for place in found.places if place.cell == "quick")
    assert any("ms of 55 ms allowed" in line for line in found.kept)


def test_a_rate_is_wanted_of_all_hosts_together(tmp_path: Path) -> None:
    chosen = cells(a=QUICK, b=SLOW)
    assert advised(tmp_path / "one", chosen, rate=500, max_connections=100).cell == "a"
    assert advised(tmp_path / "two", chosen, rate=1100, hosts=2).cell == "a"
    none = advised(tmp_path / "none", chosen, rate=1500, hosts=2)
    assert (none.verdict, none.cell) == ("none", None)
    assert all(place.standing == "ruled out" for place in none.places)


def test_memory_is_a_limit(tmp_path: Path) -> None:
    """Each takes 210 MB."""
    assert advised(tmp_path / "enough", cells(a=QUICK), memory="250MB").cell == "a"
    assert advised(tmp_path / "short", cells(a=QUICK), memory="200MB").verdict == "none"


def test_a_capacity_or_a_time_can_be_what_is_compared(tmp_path: Path) -> None:
    times = cells(a=QUICK, b=SLOW, c=SLOW)
    by_time = advised(tmp_path / "time", times, metric="latency_ms.p95")
    assert by_time.cell == "a"
    assert by_time.gain is not None
    assert by_time.gain.value is not None
    assert by_time.gain.value < 1, "a time over a longer one"
    base = searched(cells(), capacity=100.0)
    held = [*base, *searched(cells(a=QUICK)[1:], capacity=200.0), *searched(cells(b=QUICK)[1:], capacity=120.0)]
    by_capacity = advised(tmp_path / "capacity", held, metric="capacity_rps")
    assert by_capacity.cell == "a"


def test_what_was_left_behind_is_told_and_not_recommended(tmp_path: Path) -> None:
    chosen = cells(a=QUICK, b=QUICK * 0.99, c=SLOW, d=SLOW)
    folder = write_run(tmp_path, chosen, blocks=6)
    without_block(folder, "b", 3, 4, 5, 6)
    found = advise(folder, question(chosen), finished=True).contests[0]
    assert found.cell == "a"
    assert standings(found)["b"] == "left behind"
    assert (found.level_with, found.left_behind) == ([], ["b"])


def test_nothing_is_claimed_of_what_was_left_behind(tmp_path: Path) -> None:
    """Its two blocks were not held against the best's six: it may be better."""
    chosen = cells(a=QUICK, b=QUICK * 0.99, c=SLOW, d=SLOW)
    folder = write_run(tmp_path, chosen, blocks=6)
    assert any("19 searches of 20" in line for line in sentences(advised(tmp_path / "all", chosen)))
    without_block(folder, "b", 3, 4, 5, 6)
    found = advise(folder, question(chosen), finished=True).contests[0]
    assert found.reason == "the best, as far as settings were measured to the end"
    told = sentences(found)
    assert not any("19 searches of 20" in line or "every other" in line for line in told)
    assert any(line.startswith("Left behind, and perhaps better: b; more time tells") for line in told)
    (behind,) = (place.lead for place in found.places if place.cell == "b")
    assert behind is not None
    assert (behind.verdict, behind.low) == ("no interval", None)


def test_what_was_left_behind_and_missed_a_limit_is_ruled_out(tmp_path: Path) -> None:
    chosen = [replace(model, p50=60 / 2.4) if model.id == "b" else model for model in cells(a=QUICK, b=QUICK, c=SLOW)]
    folder = write_run(tmp_path, chosen, blocks=6)
    without_block(folder, "b", 3, 4, 5, 6)
    asked = question(chosen, AdviseSpec.model_validate({"p95": "55ms"}))
    found = advise(folder, asked, finished=True).contests[0]
    assert (standings(found)["b"], found.left_behind) == ("ruled out", [])


def test_what_is_said_of_the_best_goes_no_further_than_what_was_compared(tmp_path: Path) -> None:
    chosen = cells(a=QUICK, b=SLOW, bad=900)
    chosen = [replace(model, **BROKEN["refused"]) if model.id == "bad" else model for model in chosen]
    assert advised(tmp_path, chosen).reason == "better than every other that keeps the limits"


@pytest.mark.parametrize("seed", [25, 41, 59])
def test_no_gain_is_claimed_on_what_the_last_look_cannot_tell_from_the_best(tmp_path: Path, seed: int) -> None:
    """Equals: whoever leads was chosen for its figures, and a test of that pair alone is fooled by it in these runs."""
    chosen = cells(**dict.fromkeys([PRESENT, *"abcdefghij"], QUICK))
    folder = write_run(tmp_path, chosen, blocks=4, seed=seed)
    found = advise(folder, question(chosen[::-1]), finished=True).contests[0]
    assert PRESENT in (found.leader, *found.level_with)
    assert found.gain is not None
    assert found.gain.verdict == "not distinguishable"
    assert any(line.startswith("Cannot be told from today's") for line in sentences(found))


def test_a_gain_is_judged_as_the_last_look_judges(tmp_path: Path) -> None:
    """Its interval is wider than that of a pair which nobody has chosen."""
    few, many = (
        advised(tmp_path / str(count), cells(a=QUICK, **{f"b{number}": SLOW for number in range(count)}))
        for count in (1, 14)
    )
    for found in (few, many):
        assert found.gain is not None
        assert found.gain.verdict == "distinguishable"
        assert found.gain.p_adjusted is not None
    assert many.gain is not None
    assert few.gain is not None
    assert many.gain.family > few.gain.family
    (present,) = (place.lead for place in many.places if place.cell == PRESENT)
    assert present is not None
    assert present.family == many.gain.family


def test_what_misses_a_limit_so_far_goes_on_behind_the_others(tmp_path: Path) -> None:
    """Two blocks show nothing of a time; but where the search is short of its own, the others come first."""
    chosen = cells(quick=900, a=QUICK, b=QUICK * 0.98)
    chosen = [replace(model, p50=60 / 2.4) if model.id == "quick" else model for model in chosen]
    folder = write_run(tmp_path, chosen, blocks=2)
    (state,) = states(folder, question(chosen, AdviseSpec.model_validate({"p95": "55ms"})))
    assert set(state.racing[:2]) == {"a", "b"}
    assert "quick" in state.racing


def test_who_is_beaten_stays_so_whatever_comes_later(tmp_path: Path) -> None:
    """A race that is run again comes to the same: what did not run any more is not raised from the dead."""
    chosen = cells(a=QUICK, b=SLOW, c=SLOW, d=SLOW, e=SLOW, f=SLOW)
    folder = write_run(tmp_path, chosen, blocks=5)
    for name in "bcdef":
        without_block(folder, name, 3, 4, 5)
    found = advise(folder, question(chosen), finished=True).contests[0]
    assert {standings(found)[name] for name in "bcdef"} == {"slower"}


def test_the_state_says_who_goes_on_and_when_it_is_decided(tmp_path: Path) -> None:
    chosen = cells(a=QUICK, b=QUICK, **dict.fromkeys("cdefgh", SLOW))
    asked = question(chosen)
    (early,) = states(write_run(tmp_path / "early", chosen, blocks=2), asked)
    assert not early.decided
    assert set(early.racing) == {"a", "b"}
    (late,) = states(write_run(tmp_path / "late", chosen, blocks=40), asked)
    assert late.decided
    assert late.blocks == 40
    (begun,) = states(write_run(tmp_path / "begun", chosen, blocks=0), asked)
    assert (begun.decided, begun.blocks, len(begun.racing)) == (False, 0, 9)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_chance_does_nothing_over_the_budget_is_recommended(tmp_path: Path, seed: int) -> None:
    """The quickest three hold more than there is room for, or fail; the best of the others is at QUICK."""
    fast = [
        replace(model, peak=60)
        if model.id != "x"
        else replace(model, errors={"http-500": ErrorKind(count=1, example="")})
        for model in cells(x=900, y=900, z=890)[1:]
    ]
    chosen = [*cells(a=QUICK, b=QUICK, c=SLOW), *fast]
    folder = write_run(tmp_path, chosen, blocks=6, seed=seed)
    found = advise(folder, question(chosen), finished=True).contests[0]
    assert found.cell in ("a", "b")
    assert {standings(found)[name] for name in "xyz"} == {"ruled out"}


@pytest.mark.parametrize("seed", range(2))
def test_the_advice_is_among_what_the_whole_matrix_calls_best(tmp_path: Path, seed: int) -> None:
    """A search leaves out what is beaten; all blocks of all cells must not know better."""
    chosen = [model for model in models() if model.database == "pg"]
    folder = write_run(tmp_path, chosen, blocks=8, seed=seed)
    (best,) = (one for one in summarise(folder).answers if one.metric == "throughput_rps")
    asked = question(chosen)
    for block in range(2, 8):
        (state,) = states(folder, asked)
        for cell in {model.id for model in chosen} - {*state.racing, PRESENT}:
            path = folder.attempt_path(cell, block + 1, 0)
            if path.exists():
                shutil.rmtree(path)
    found = advise(folder, asked, finished=True).contests[0]
    assert found.cell in {best.cell, *best.level_with}
