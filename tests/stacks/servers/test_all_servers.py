"""Every kind of server starts, serves a load, and holds as many connections as predicted: one run of them all."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner.matrix.expansion import expand
from runner.matrix.reading import read_matrix
from runner.stacks.servers import SERVERS
from tests.processes import ROOT
from tests.test_end_to_end import run_matrix

SERVED = {
    "eventlet",
    "asgi-worker",
    "restarting",
    "uwsgi-gevent",
    "runserver",
    "nothreading",
    "uvicorn",
    "daphne",
    "granian-asgi",
    "granian-wsgi",
    "preloaded",
}
#: Requests do not come back to what an earlier one has left open.
LEAVING = {"asgi-worker", "uwsgi-gevent", "uvicorn", "daphne", "granian-asgi"}


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the run says of each server."""
    _, folder, _ = run_matrix("servers", tmp_path_factory.mktemp("servers"))
    summary = json.loads((folder / "summary.json").read_text())
    return {cell["axes"]["server"]: {**cell, "folder": folder} for cell in summary["cells"]}


def connections(cell: dict[str, Any]) -> dict[str, float]:
    figures = cell["metrics"]["connections"]
    return {name: figures[name]["value"] for name in ("peak", "opened", "opened_per_request", "lingering")}


@pytest.mark.server
@pytest.mark.parametrize("server", sorted(SERVED))
def test_it_serves_as_predicted(cells: dict[str, dict[str, Any]], server: str) -> None:
    cell = cells[server]
    assert cell["status"] == "ok", cell["reason"]
    figures = cell["metrics"]["connections"]
    assert figures["as_predicted"], figures["prediction_note"]
    (folder,) = Path(cell["folder"]).glob(f"cells/{cell['id']}/b1-a1")
    agreement = json.loads((folder / "attempt.json").read_text())["agreement"]
    assert agreement["locust"] <= agreement["server_log"] <= agreement["locust"] + agreement["unanswered"]
    assert agreement["locust"] >= 4


@pytest.mark.server
@pytest.mark.parametrize("server", sorted(LEAVING))
def test_where_a_context_ends_with_its_request_each_request_opens_a_connection(
    cells: dict[str, dict[str, Any]], server: str
) -> None:
    assert connections(cells[server])["opened_per_request"] == pytest.approx(1.0, rel=0.02)


@pytest.mark.server
def test_without_threads_there_is_one_connection(cells: dict[str, dict[str, Any]]) -> None:
    figures = connections(cells["nothreading"])
    assert (figures["peak"], figures["lingering"]) == (1, 1)
    assert figures["opened"] == 2, "one more at the start, for its look at the migrations"


@pytest.mark.server
def test_a_connection_from_before_the_fork_stays_beside_the_threads_own(cells: dict[str, dict[str, Any]]) -> None:
    assert connections(cells["preloaded"])["lingering"] >= 2


@pytest.mark.server
def test_django_that_was_imported_before_the_patching_fails_its_first_check(cells: dict[str, dict[str, Any]]) -> None:
    late = cells["late"]
    assert late["status"] == "failed"
    assert "status 500" in late["reason"]


def test_every_kind_of_server_is_in_the_matrix_of_all() -> None:
    """And the plan of it can be made: each cell is possible or has its reason."""
    expansion = expand(read_matrix(ROOT / "matrices" / "all.yaml"))
    assert {cell.server.kind for cell in expansion.cells} == {kind.model_fields["kind"].default for kind in SERVERS}
    assert all(skipped.reason for skipped in expansion.skipped)
