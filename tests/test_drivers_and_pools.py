"""Every driver and every pool on real servers: what they hold is what was predicted, and no request fails."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT, connbench

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]

RUN_LIMIT = 560


def run_cells(name: str, folder: Path) -> dict[str, dict[str, Any]]:
    """The metrics of the cells of one test matrix that ran, by id."""
    log, matrix = folder / "log", ROOT / "tests" / "matrices" / f"{name}.yaml"
    process = connbench(["run", "-m", str(matrix), "--seed", "1", "--wait", "--out", str(folder / "out")], log)
    assert process.wait(RUN_LIMIT) == 0, log.read_text()
    summary = json.loads((folder / "out" / "latest" / "summary.json").read_text())
    return {cell["id"]: cell["metrics"] for cell in summary["cells"] if cell["status"] != "skipped"}


def assert_as_predicted(cells: dict[str, dict[str, Any]]) -> None:
    for name, metrics in cells.items():
        connections = metrics["connections"]
        assert connections["as_predicted"], (name, connections)
        assert connections["refused"]["value"] == 0, name
        assert metrics["errors"]["total"]["value"] == 0, (name, metrics["errors"])


def test_every_driver_and_every_pool(tmp_path: Path) -> None:
    cells = run_cells("drivers", tmp_path)
    assert set(cells) == {
        "psycopg-gthread-native",
        "psycopg-gthread-queue",
        "psycopg-gevent-geventpool",
        "psycopg2-gthread-postgrespool2",
        "psycopg2-green-geventpool",
        "mysqlclient-gthread-queue",
        "mysqlclient-gevent-per-request",
        "pymysql-gevent-queue",
    }
    assert_as_predicted(cells)
    peaks = {name: metrics["connections"]["peak"]["value"] for name, metrics in cells.items()}
    assert peaks["mysqlclient-gevent-per-request"] == 1, "a query blocks its whole worker"
    assert peaks["pymysql-gevent-queue"] > 1, "this driver's does not"


def test_what_djangos_pools_hold_together_under_uwsgi(tmp_path: Path) -> None:
    """As measured by hand: min/max 5/5 under 4 × 6 is 20; 2/8, 6/8 and 8/8 under 4 × 5 are 20, 28 and 32."""
    cells = run_cells("pools", tmp_path)
    assert_as_predicted(cells)
    bounds = {
        name: (metrics["connections"]["predicted"]["min"], metrics["connections"]["predicted"]["max"])
        for name, metrics in cells.items()
    }
    assert bounds == {
        "pg-four-by-six-five-five": (20, 20),
        "pg-four-by-five-two-eight": (8, 20),
        "pg-four-by-five-six-eight": (24, 28),
        "pg-four-by-five-eight-eight": (32, 32),
    }
    assert cells["pg-four-by-five-two-eight"]["connections"]["peak"]["value"] > 8, "it grows on demand"
