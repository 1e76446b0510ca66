"""What a search is to find out: questions, candidates, their budgets, today's settings; and what cannot be asked."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.contest import Search, make_search
from runner.errors import UsageError
from runner.matrix.limits import AdviseSpec
from runner.matrix.spec import MatrixFile
from runner.plan import plan_of_rounds
from runner.stacks.app import App, load_app
from tests.matrix.examples import GTHREAD, POSTGRES, UWSGI, age, bouncer, make_matrix, pool

SHOP = load_app("shop")
ALL = {"server": ["sync", "uwsgi", "gevent"], "connection": ["per-request", "forever", "pooled"]}


def search(matrix: MatrixFile, **limits: Any) -> Search:
    return make_search(matrix, AdviseSpec.model_validate(limits), SHOP, looks=5)


def test_each_database_and_each_load_is_a_question_of_its_own() -> None:
    found = search(make_matrix({"database": ["pg", "my"], "load.users": [8, 16], **ALL}))
    assert [contest.name for contest in found.question.contests] == [
        f"{database} load.users={users}" for database in ("pg", "my") for users in (8, 16)
    ]
    assert [len(contest.candidates) for contest in found.question.contests] == [9, 9, 6, 6]
    by_id = {cell.id: cell for cell in found.cells}
    for contest in found.question.contests:
        assert {by_id[one.cell].reference for one in contest.candidates} == {contest.present}


def test_today_s_settings_are_the_matrix_s_first_unless_told() -> None:
    matrix = make_matrix({"database": ["pg"], **ALL})
    assert search(matrix).question.contests[0].present == "pg-sync-per-request"
    told = search(matrix, present="server=uwsgi,connection=forever").question.contests[0]
    assert told.present == "pg-uwsgi-forever"
    assert len(told.candidates) == 9


def test_today_s_settings_need_not_be_in_the_matrix() -> None:
    found = search(make_matrix({"database": ["pg"], **ALL}), present="server=uwsgi,server.threads=2")
    (contest,) = found.question.contests
    assert contest.present == "pg-present"
    assert contest.candidates[0].cell == "pg-present"
    assert contest.candidates[0].budget.each == 8
    assert len(contest.candidates) == 10


@pytest.mark.parametrize("django", ["django", "versions.django"])
def test_today_s_settings_are_measured_under_each_question_s_own_load_and_versions(django: str) -> None:
    matrix = make_matrix({"database": ["pg"], "load.users": [4, 8], django: ["5.1", "5.2"], **ALL})
    found = search(matrix, present="server=uwsgi,server.threads=2")
    by_id = {cell.id: cell for cell in found.cells}
    assert len(by_id) == len(found.cells) == len(plan_of_rounds(found.cells, matrix, 7, 1).cells)
    for contest in found.question.contests:
        asked = [by_id[one.cell] for one in contest.candidates]
        assert by_id[contest.present].server.process_count == 4
        assert by_id[contest.present].server.threads_per_process == 2
        assert len({(cell.load.users, *cell.versions.items()) for cell in asked}) == 1
        assert len({(cell.axes["load.users"], cell.axes[django]) for cell in asked}) == 1


def test_what_does_not_fit_is_not_measured_and_listed_with_the_reason() -> None:
    """Sync holds 4, with a pool 12; 16 threads hold 16, and a restart doubles them: 32 of 27."""
    found = search(make_matrix({"database": ["pg"], **ALL}), max_connections=30, headroom="0%")
    fitting = {"pg-sync-per-request", "pg-sync-forever", "pg-sync-pooled", "pg-gevent-pooled"}
    assert {cell.id for cell in found.cells} == fitting
    reasons = {skipped.id: skipped.reason for skipped in found.expansion.skipped}
    assert "32 connections for a room of 27" in reasons["pg-uwsgi-forever"]
    assert len(reasons) == 5


def test_today_s_settings_are_measured_even_if_they_do_not_fit() -> None:
    found = search(make_matrix({"database": ["pg"], **ALL}), max_connections=30, present="server=uwsgi")
    (contest,) = found.question.contests
    assert contest.present in {cell.id for cell in found.cells}
    (today,) = (one for one in contest.candidates if one.cell == contest.present)
    assert today.ruled_out


def test_a_question_of_which_no_setting_fits_is_not_measured_at_all() -> None:
    """Each client takes a connection, and after a fault two; the other load's go on."""
    matrix = make_matrix(
        {"database": ["pg"], "connection": ["per-request"], "server": ["uwsgi"], "load.users": [4, 16]}
    )
    found = search(matrix, max_connections=20, headroom="0%")
    assert [cell.load.users for cell in found.cells] == [4]
    assert [skipped.axes["load.users"] for skipped in found.expansion.skipped] == [16]
    assert len(found.question.contests) == 2
    assert search(matrix, max_connections=5).cells == ()


@pytest.mark.parametrize(
    ("limits", "matrix", "room"),
    [
        ({"headroom": "0%"}, {}, 97),
        ({}, {}, 87),
        ({"headroom": "50%"}, {"databases": {"pg": {**POSTGRES, "max_connections": 43}}}, 20),
        ({"headroom": "0%", "max_connections": 10}, {"databases": {"pg": {**POSTGRES, "max_connections": 43}}}, 7),
    ],
)
def test_the_room_is_the_product_s_the_matrix_s_or_the_one_told(
    limits: dict[str, Any], matrix: dict[str, Any], room: int
) -> None:
    found = search(make_matrix({"server": ["sync"], "connection": ["forever"], "database": ["pg"]}, **matrix), **limits)
    assert found.question.contests[0].candidates[0].budget.room == room


def test_mysql_has_its_own() -> None:
    found = search(make_matrix({"server": ["sync"], "connection": ["forever"], "database": ["my"]}), headroom="0%")
    assert found.question.contests[0].candidates[0].budget.room == 151


def test_the_harness_s_own_limits_and_connections_are_none_of_the_budget_s() -> None:
    """Under gevent its checks leave two connections, and its server may take fewer than the deployment's."""
    matrix = make_matrix(
        {"server": ["gevent"], "connection": ["forever"], "database": ["pg"]},
        databases={"pg": {**POSTGRES, "max_connections": 12}},
    )
    budget = search(matrix, max_connections=500).question.contests[0].candidates[0].budget
    assert (budget.each, budget.surge) == (16, 400)


def with_replica(app: App) -> App:
    return replace(app, description=app.description.model_copy(update={"databases": {"replica": "default"}}))


def test_a_replica_s_connections_are_in_the_budget() -> None:
    """What does not fit with them is not measured, and nobody is surprised by a peak that has them."""
    matrix = make_matrix({"database": ["pg"], **ALL})
    limits = AdviseSpec.model_validate({"max_connections": 60, "headroom": "0%"})
    found = make_search(matrix, limits, with_replica(SHOP), looks=5)
    (contest,) = found.question.contests
    budgets = {one.cell: one.budget for one in contest.candidates}
    assert (budgets["pg-uwsgi-forever"].each, budgets["pg-uwsgi-forever"].aliases) == (32, 2)
    assert "pg-uwsgi-forever" not in {cell.id for cell in found.cells}
    assert "its 2 aliases in DATABASES are one server here" in budgets["pg-uwsgi-forever"].overdrawn
    assert budgets["pg-sync-forever"].each == 8
    assert {cell.replicas for cell in found.cells} == {1}
    assert budgets["pg-sync-forever"].at_least(8) == budgets["pg-sync-forever"]


DOCS = Path(__file__).parents[1] / "docs" / "advise.md"


def test_the_worked_example_of_the_docs() -> None:
    """Its rows in the order of the page."""
    matrix = make_matrix(
        {"database": ["pg"], "server": ["gthread"], "connection": ["none", "kept"], "pooler": ["none", "b"]},
        databases={"pg": POSTGRES},
        servers={"gthread": GTHREAD},
        connections={"none": age(0), "kept": age(60)},
        poolers={"b": bouncer(pool_size=10)},
        load={"users": 8},
    )
    limits = AdviseSpec.model_validate({"max_connections": 100, "hosts": 2})
    (plain,) = make_search(matrix, limits, SHOP, looks=5).question.contests
    (replicated,) = make_search(matrix, limits, with_replica(SHOP), looks=5).question.contests
    budgets = {one.cell: one.budget for one in plain.candidates}
    kept = "pg-gthread-kept-none"
    rows = [
        budgets["pg-gthread-none-none"],
        budgets[kept],
        *(one.budget for one in replicated.candidates if one.cell == kept),
        budgets["pg-gthread-kept-b"],
    ]
    text = DOCS.read_text().partition("For example")[2].partition("The one with")[0]
    told = [line.strip("| ").split(" | ")[1:] for line in text.splitlines() if line.startswith("| ")][1:]
    assert told == [[str(f) for f in (one.each, one.steady, one.restart, one.fault, one.surge)] for one in rows]
    assert {one.room for one in rows} == {87}
    assert [bool(one.overdrawn) for one in rows] == [False, False, True, False]


@pytest.mark.parametrize(
    ("load", "metric"),
    [
        ({}, "throughput_rps"),
        ({"model": "open", "rate": 50.0}, "latency_ms.p95"),
        ({"model": "open", "rate": "search", "slo": {"p95": "200ms"}}, "capacity_rps"),
    ],
)
def test_the_load_decides_what_is_compared(load: dict[str, Any], metric: str) -> None:
    matrix = make_matrix({"database": ["pg"], **ALL}, load={"users": 16, **load})
    assert search(matrix).question.contests[0].metric == metric


@pytest.mark.parametrize(
    "load", [{}, {"model": "open", "rate": 150.0}, {"model": "open", "rate": "search", "slo": {"p95": "200ms"}}]
)
def test_a_rate_that_the_load_can_show_may_be_asked_for(load: dict[str, Any]) -> None:
    matrix = make_matrix({"database": ["pg"], **ALL}, load={"users": 16, **load})
    assert len(search(matrix, rate=300, hosts=2, max_connections=500).cells) == 9


def test_the_simplest_has_the_fewest_moving_parts() -> None:
    matrix = make_matrix(
        {
            "server": ["gthread", "uwsgi"],
            "connection": ["per-request", "persistent", "pooled"],
            "pooler": ["none", "b"],
        },
        databases={"pg": POSTGRES},
        servers={"gthread": {**GTHREAD, "workers": 2}, "uwsgi": UWSGI},
        connections={"per-request": age(0), "persistent": age(60), "pooled": pool(min_size=2, max_size=4)},
        poolers={"b": bouncer(pool_size=4)},
    )
    (contest,) = search(matrix).question.contests
    order = [one.cell for one in sorted(contest.candidates, key=lambda one: tuple(one.simplicity))]
    assert order == [
        f"pg-{server}-{connection}-{pooler}"
        for pooler in ("none", "b")
        for connections in (("per-request", "persistent"), ("pooled",))
        for server in ("gthread", "uwsgi")
        for connection in connections
    ]


@pytest.mark.parametrize(
    ("matrix", "limits", "words"),
    [
        ({"load": {"windows": 0}}, {}, "it has no windows"),
        (
            {"load": {"model": "open", "rate": 100.0}},
            {"rate": 300, "hosts": 2},
            "--rate 300: its schedule (load.rate: 100 on each host) asks for no more than 200 requests/s",
        ),
        ({}, {"present": "server=uswgi"}, "--present: server: found 'uswgi'"),
        ({}, {"present": "database=my"}, "--present: database=my: names server, connection, pooler"),
        ({}, {"present": "django=5.1"}, "names server, connection, pooler"),
        ({}, {"present": "server=uwsgi,load.users=1"}, "names server, connection, pooler and their parameters alone"),
        ({}, {"present": "database.driver=psycopg2"}, "names server, connection, pooler and their parameters alone"),
        ({}, {"present": "databases.pg.driver=psycopg2"}, "names server, connection, pooler and their parameters"),
        ({}, {"present": "versions.django=5.1"}, "names server, connection, pooler and their parameters alone"),
    ],
)
def test_what_cannot_be_asked_is_refused(matrix: dict[str, Any], limits: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as refusal:
        search(make_matrix({"database": ["pg"], **ALL}, **matrix), **limits)
    assert words in str(refusal.value)
