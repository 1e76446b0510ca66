"""A whole run with PgBouncer between app and database: two sides, two numbers, each as predicted."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.test_end_to_end import run_matrix

pytestmark = pytest.mark.server

PERSISTENT, PER_REQUEST = "pg-threads-persistent", "pg-threads-per-request"


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, Any]]]:
    _, folder, _ = run_matrix("poolers", tmp_path_factory.mktemp("poolers"))
    found = (path.parent for path in folder.glob("cells/*/b1-a1/attempt.json"))
    return {path.parent.name: (path, json.loads((path / "attempt.json").read_text())) for path in found}


@pytest.fixture(scope="module")
def sound(attempts: dict[str, tuple[Path, dict[str, Any]]]) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Those that must be well: all but the one in statement mode."""
    good = {name: found for name, found in attempts.items() if "statement" not in name}
    assert len(good) == 4
    assert {name: found[1]["verdict"]["reason"] for name, found in good.items() if found[1]["errors"]} == {}
    assert {found[1]["verdict"]["status"] for found in good.values()} == {"ok"}
    return good


def test_sixteen_threads_over_four_connections(sound: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    for setting in (PERSISTENT, PER_REQUEST):
        seen = sound[f"{setting}-transaction"][1]["connections"]
        assert 1 <= seen["peak"] <= seen["opened"] <= 4
        assert seen["refused"] == seen["client"]["refused"] == 0
    kept = sound[f"{PERSISTENT}-transaction"][1]["connections"]["client"]
    assert 4 < kept["peak"] <= 16, "more clients than connections"
    assert kept["peak"] == kept["opened"] == kept["lingering"]


def test_a_client_connection_for_each_request(sound: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    for mode in ("transaction", "session"):
        seen = sound[f"{PER_REQUEST}-{mode}"][1]["connections"]
        assert seen["client"]["opened"] == seen["database_requests"], "exactly one each, the checks included"
        assert seen["client"]["lingering"] == 0
        assert seen["client"]["peak"] <= 16
        assert 1 <= seen["lingering"] <= seen["opened"] <= 20, "the pooler keeps its own"


def test_a_session_holds_its_connection(sound: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    seen = sound[f"{PERSISTENT}-session"][1]["connections"]
    assert seen["peak"] == seen["opened"] == seen["client"]["peak"] == seen["client"]["opened"] <= 16


def test_both_sides_are_as_predicted(sound: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    (folder, _) = sound[f"{PERSISTENT}-session"]
    cells = json.loads((folder.parents[2] / "summary.json").read_text())["cells"]
    for cell in cells:
        if cell["id"] in sound:
            connections = cell["metrics"]["connections"]
            assert connections["as_predicted"], (cell["id"], connections)
            assert connections["predicted"]["clients"]["max"] == 16
            assert connections["client"]["peak"]["value"] <= 16


def test_it_is_looked_at_beside_the_database(sound: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    for folder, record in sound.values():
        looks = pd.read_parquet(folder / "pooler.parquet")
        assert len(looks) > 10
        assert 1 <= (looks["servers_active"] + looks["servers_idle"]).max() <= 20
        assert looks["clients_active"].max() <= 16
        assert looks["queries"].is_monotonic_increasing
        assert record["resources"]["pooler"]["cpu_seconds_per_request"] > 0
        assert record["resources"]["pooler"]["peak_memory_bytes"] > 0
        assert "pooler.log" in {path.name for path in (folder / "logs").iterdir()}


def test_a_pooler_needs_no_server_side_cursors(sound: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    for name, (_, record) in sound.items():
        settings = record["django_databases"]["default"]
        assert settings.get("DISABLE_SERVER_SIDE_CURSORS", False) == ("transaction" in name)


def test_statement_mode_fails_where_the_app_needs_transactions(
    attempts: dict[str, tuple[Path, dict[str, Any]]],
) -> None:
    folder, record = attempts[f"{PERSISTENT}-statement"]
    verdict = record["verdict"]
    assert verdict["status"] == "failed"
    assert "POST /orders/: status 500" in verdict["reason"]
    assert "transaction blocks not allowed in statement pooling mode" in (folder / "logs" / "app.log").read_text()


def test_no_secret_on_a_command_line_or_in_the_results(sound: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    for folder, record in sound.values():
        assert record["django_databases"]["default"]["PASSWORD"] == "********"
        assert "password" not in (folder / "logs" / "pooler.log").read_text().lower()
