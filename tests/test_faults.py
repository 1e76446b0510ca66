"""Each fault once on each database, under load, and commands beside and in place of the app server."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.test_end_to_end import run_matrix

pytestmark = pytest.mark.server

DATABASES = ("pg", "my")
#: Threads of the cells' app server, each of which keeps its connection.
PLACES = 8


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path, str]:
    """`run_matrix` itself sees to it that nothing is left running."""
    return run_matrix("faults", tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def attempts(run: tuple[int, Path, str]) -> dict[str, dict[str, Any]]:
    found = {path.parts[-3]: json.loads(path.read_text()) for path in run[1].glob("cells/*/b1-a1/attempt.json")}
    statuses = {name: (record["verdict"], record["flags"]) for name, record in found.items()}
    assert len(found) == 10, run[2]
    assert all(verdict["status"] == "ok" for verdict, _ in statuses.values()), statuses
    return found


def attempt_of(attempts: dict[str, dict[str, Any]], database: str, phases: str) -> dict[str, Any]:
    return attempts[f"{database}-gthread-forever-phases-{phases}"]


def recovery_of(attempt: dict[str, Any], fault: str) -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = attempt["recovery"]
    assert found["fault"] == fault
    # It struck while load ran, and the load went on.
    (drive,) = [phase for phase in attempt["phases"] if phase["name"] == "fault"]
    assert drive["offset"] <= found["offset"] <= drive["offset"] + drive["seconds"]
    assert found["requests"] > 0
    return found


def failed_requests(run: tuple[int, Path, str], database: str, phases: str) -> int:
    folder = run[1] / "cells" / f"{database}-gthread-forever-phases-{phases}" / "b1-a1"
    return int((pd.read_parquet(folder / "requests.parquet")["error"] != "").sum())


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize(("phases", "fault"), [("restart", "restart-database"), ("kill", "kill-connections")])
def test_connections_that_are_cut_fail_a_request_each_and_are_opened_anew(
    run: tuple[int, Path, str], attempts: dict[str, dict[str, Any]], database: str, phases: str, fault: str
) -> None:
    attempt = attempt_of(attempts, database, phases)
    recovery, connections = recovery_of(attempt, fault), attempt["connections"]
    assert recovery["failed_requests"] == failed_requests(run, database, phases) > 0
    assert recovery["seconds_to_first_success"] is not None
    # The books of before and after the cut are one: what was held is opened at the most once more.
    assert PLACES // 2 < connections["opened"] <= 2 * PLACES
    assert connections["lingering"] <= connections["peak"] <= PLACES
    assert connections["opened"] > connections["lingering"] > 0
    agreement = attempt["agreement"]
    assert agreement["server_log"] == agreement["locust"] + agreement["unanswered"]
    assert agreement["database_transactions"] >= agreement["database_requests"]


@pytest.mark.parametrize("database", DATABASES)
def test_a_database_that_stands_still_fails_nothing_and_opens_nothing(
    attempts: dict[str, dict[str, Any]], database: str
) -> None:
    attempt = attempt_of(attempts, database, "pause")
    recovery = recovery_of(attempt, "pause-database")
    assert recovery["failed_requests"] == 0
    assert recovery["seconds"] >= 1
    # Nobody is answered before it goes on; those that need no database are not in this profile.
    assert recovery["seconds_to_first_success"] >= 0.9
    assert attempt["connections"]["opened"] == attempt["connections"]["lingering"] <= PLACES


@pytest.mark.parametrize("database", DATABASES)
def test_workers_that_are_reloaded_lose_their_connections_and_no_request(
    attempts: dict[str, dict[str, Any]], database: str
) -> None:
    attempt = attempt_of(attempts, database, "reload")
    recovery_of(attempt, "reload-workers")
    assert len(attempt["workers"]) > 2, "there are new workers"
    assert attempt["connections"]["lingering"] <= PLACES < attempt["connections"]["opened"] + PLACES


@pytest.mark.parametrize("database", DATABASES)
def test_commands_run_under_the_cell_s_own_settings(
    run: tuple[int, Path, str], attempts: dict[str, dict[str, Any]], database: str
) -> None:
    attempt = attempt_of(attempts, database, "command")
    commands = {command["command"]: command for command in attempt["commands"]}
    assert {name: command["exit_code"] for name, command in commands.items()} == {
        "manage.py check --database default": 0,
        "manage.py no-such-command": 1,
        "manage.py seed": 0,
    }
    assert commands["manage.py check --database default"]["beside"]
    seed = commands["manage.py seed"]
    assert "The shop has rows already" in seed["last_line"]
    folder = run[1] / "cells" / f"{database}-gthread-forever-phases-command" / "b1-a1"
    assert seed["last_line"] in (folder / "logs" / seed["log"]).read_text()
    # Its session is in the same books, and ended with it, as the app server's did when the command took its place.
    kept = sum(worker["threads"] for worker in attempt["workers"])
    assert attempt["connections"]["opened"] >= kept + 1
    assert attempt["connections"]["lingering"] == 0


def test_faults_are_in_the_tables(run: tuple[int, Path, str]) -> None:
    assert "Faults and commands" in run[2]
    assert "kill-connections" in (run[1] / "report.html").read_text()
