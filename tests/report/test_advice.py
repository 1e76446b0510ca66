"""What a search came to in words: the recommendation, how sure it is, and where nothing is recommended."""

import io
import math
from typing import Any

import pytest
from rich.console import Console

from runner.analysis.advice_model import Advice, Candidate, Contest, ContestAdvice, Paste, Place, Question
from runner.analysis.budget import budget_of
from runner.analysis.decisions import judge
from runner.analysis.inference import Estimate
from runner.matrix.limits import AdviseSpec
from runner.report.advice import advice_markdown, foretell, headline, print_advice, sentences
from tests.synthetic import prediction

BUDGET = budget_of(prediction(16), prediction(200), 2, 87, behind_pooler=False)
TODAY = budget_of(prediction(60), prediction(60), 2, 87, behind_pooler=False)
PASTE = Paste(
    settings='DATABASES = {"default": {"CONN_MAX_AGE": 60}}', command="uwsgi --threads 4", pooler="; pgbouncer"
)
(GAIN,) = judge([Estimate(0.5, 0.01, 9, 5)])
(LEVEL,) = judge([Estimate(0.01, 0.02, 9, 5)])


def contest(**more: Any) -> ContestAdvice:
    values: dict[str, Any] = {
        "name": "pg",
        "metric": "throughput_rps",
        "verdict": "level",
        "reason": "the simplest of those within a standard error of the best",
        "present": "pg-sync-per-request",
        "leader": "pg-uwsgi-pooled",
        "cell": "pg-uwsgi-persistent",
        "level_with": ["pg-uwsgi-persistent"],
        "simpler": "no pool inside the app",
        "detectable": 0.043,
        "blocks": 5,
        "gain": GAIN,
        "kept": ["p95 20 ms of 200 ms allowed"],
        "budget": BUDGET,
        "present_budget": TODAY,
        "paste": PASTE,
        "places": [
            Place(cell="pg-uwsgi-pooled", standing="best", blocks=5, value=610.0),
            Place(cell="pg-uwsgi-persistent", standing="level", blocks=5, value=604.0, lead=LEVEL),
            Place(cell="pg-sync-per-request", standing="slower", blocks=5, value=200.0, lead=GAIN),
            Place(cell="pg-gevent-forever", standing="ruled out", reason="400 connections for a room of 87 (steady)"),
        ],
    }
    return ContestAdvice.model_validate(values | more)


def shown(*contests: ContestAdvice, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_advice(Advice(limits=AdviseSpec(), finished=True, contests=contests), console)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_recommendation_its_reasons_and_what_to_paste() -> None:
    text = shown(contest(), width=300)
    for words in (
        "pg: pg-uwsgi-persistent",
        "The simplest of those within a standard error of the best.",
        "As good: pg-uwsgi-pooled.",
        "no pool inside the app",
        "Against today's pg-sync-per-request: 1.65× (1.61–1.69) the throughput",
        "P95 20 ms of 200 ms allowed.",
        "one would have seen 4 %. 5 blocks.",
        "with more, a fault may find up to 800 connections open, and there is room for 87",
        PASTE.settings,
        PASTE.command,
        "; pgbouncer",
        "ruled out: 400 connections for a room of 87 (steady)",
        "shown to be worse than the best",
    ):
        assert words in text


def test_the_budget_stands_beside_today_s_in_each_situation() -> None:
    rows = [line.split() for line in shown(contest(), width=200).splitlines()]
    assert ["steady", "32", "120", "87"] in rows
    assert [row[-3:] for row in rows if row[:2] == ["rolling", "restart,"]] == [["48", "180", "87"]]
    assert [row[-3:] for row in rows if row[:3] == ["after", "a", "fault:"]] == [["64", "240", "87"]]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_what_is_to_be_pasted_is_never_wrapped(width: int) -> None:
    long = Paste(settings="x" * 300, command="y" * 300)
    text = shown(contest(paste=long), width=width)
    assert "x" * 300 in text
    assert "y" * 300 in text


@pytest.mark.parametrize("value", [1.04, 1 / 1.04])
def test_one_that_is_simpler_still_is_named_with_what_it_was_behind(value: float) -> None:
    """Whichever way the metric goes."""
    (behind,) = judge([Estimate(math.log(value), 0.05, 9, 5)])
    places = [Place(cell="pg-sync-forever", standing="level", blocks=5, value=590.0, lead=behind)]
    said = sentences(contest(simpler_still="pg-sync-forever", places=places))
    assert "Simpler still, and behind the best by 4 %, which may be chance: pg-sync-forever." in said
    assert not any("Simpler still" in line for line in sentences(contest()))


def test_today_s_settings_can_be_the_answer() -> None:
    kept = contest(
        cell="pg-sync-per-request", gain=None, verdict="best", level_with=[], simpler="", leader="pg-sync-per-request"
    )
    assert headline(kept) == "pg: pg-sync-per-request (the settings of today)"
    assert "Nothing gains on the settings of today." in sentences(kept)
    assert "today  " not in shown(kept)


def test_an_unknown_gain_is_said_to_be_so() -> None:
    assert any("is not known" in line for line in sentences(contest(gain=None)))
    assert any(line.startswith("Cannot be told from today's") for line in sentences(contest(gain=LEVEL)))


def test_what_was_left_behind_is_named_in_the_place_of_a_claim() -> None:
    said = sentences(contest(left_behind=["pg-gevent-forever"]))
    assert not any("19 searches" in line for line in said)
    assert any("Left behind, and perhaps better: pg-gevent-forever; more time tells" in line for line in said)


def test_aliases_are_said_to_count_as_ways_to_one_server() -> None:
    replicated = contest(budget=BUDGET.model_copy(update={"aliases": 2}))
    assert any("the 2 aliases of the app's DATABASES" in line for line in sentences(replicated))
    assert not any("aliases" in line for line in sentences(contest()))


def test_a_file_that_the_server_reads_is_shown_by_its_name() -> None:
    text = shown(contest(paste=PASTE.model_copy(update={"files": {"gunicorn.conf.py": "def post_fork(): ..."}})))
    assert "# gunicorn.conf.py\ndef post_fork(): ..." in text


@pytest.mark.parametrize(
    ("verdict", "reason", "words"),
    [
        ("underpowered", "2 blocks are too few to recommend anything", "In the race to the end: pg-uwsgi-pooled"),
        ("underpowered", "they are level", "pg-uwsgi-pooled against today's pg-sync-per-request: 1.65× (1.61–1.69)"),
        ("none", "none of the settings keeps every limit", ""),
    ],
)
def test_where_nothing_is_recommended_nothing_is_pasted(verdict: str, reason: str, words: str) -> None:
    nothing = contest(verdict=verdict, reason=reason, cell=None, paste=None, budget=None)
    text = shown(nothing)
    assert f"pg: nothing to recommend: {reason}" in text
    assert words in text
    assert "DATABASES" not in text
    assert "Connections of" not in text
    assert "DATABASES" not in advice_markdown(Advice(limits=AdviseSpec(), finished=True, contests=[nothing]))


def test_markdown_has_the_same() -> None:
    text = advice_markdown(Advice(limits=AdviseSpec(), finished=True, contests=[contest()]))
    assert text.startswith("## pg: pg-uwsgi-persistent\n")
    assert f"```python\n{PASTE.settings}\n```" in text
    assert "| steady | 32 | 120 | 87 |" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {5, 6}, "two tables of four and five columns"


def test_what_is_foretold() -> None:
    said: list[str] = []
    candidates = [
        Candidate(cell=name, budget=BUDGET, simplicity=[0], paste=PASTE, ruled_out=reason)
        for name, reason in (("a", ""), ("b", "400 connections for a room of 87"), ("c", "too many too"))
    ]
    asked = Contest(name="pg", metric="throughput_rps", present="c", candidates=candidates)
    foretell(Question(limits=AdviseSpec(), looks=5, contests=[asked]), 2, 95.0, 900.0, said.append)
    assert said == [
        "pg: 3 candidates, today's is c",
        "  not measured: b: 400 connections for a room of 87",
        "  today's does not fit: too many too",
        "2 cells to measure: a coarse pass of about 1 min 35 s, then what can still win, at most 15 min 00 s in all",
    ]
