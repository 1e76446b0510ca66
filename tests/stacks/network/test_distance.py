"""A real database that is further away: what the books and the wire say through the relay, and what is recorded."""

import json
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runner.provision.native import NativeProvider
from runner.stacks.databases import make_database
from runner.stacks.databases.base import Database
from runner.stacks.databases.mysql import MySQLSpec
from runner.stacks.databases.postgres import PostgresSpec
from runner.stacks.network.distance import Distance, set_apart
from tests.stacks.databases.clients import churn
from tests.test_end_to_end import run_matrix

pytestmark = [pytest.mark.server, pytest.mark.alone]

ASKED = 0.005


@pytest.fixture(scope="module")
def provider() -> Iterator[NativeProvider]:
    with closing(NativeProvider()) as made:
        yield made


@pytest.fixture(scope="module", params=[PostgresSpec, MySQLSpec], ids=["pg", "my"])
def away(
    request: pytest.FixtureRequest, provider: NativeProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Database, Distance]]:
    database, logs = make_database(request.param(round_trip="5ms")), tmp_path_factory.mktemp("logs")
    name = database.spec.engine
    database.start(provider, name, logs)
    with closing(database):
        distance = set_apart(database, provider, name, logs)
        yield database, distance
        provider.stop(distance.relay)


def test_the_distance_is_measured(away: tuple[Database, Distance]) -> None:
    _, distance = away
    assert distance.far >= ASKED, "nothing is faster than the wire"
    assert distance.added > ASKED / 2
    assert distance.near < distance.far


def test_the_books_are_exact_through_the_relay(away: tuple[Database, Distance]) -> None:
    """Four clients that open and close as fast as they can never hold five, as the server's wire sees it."""
    database, distance = away
    account = database.create_empty("churning")
    mark = database.mark_peak(account)
    seen = cast("Database", SimpleNamespace(spec=database.spec, service=distance.relay))
    churned = churn(seen, account, clients=4, each=12)
    peak, books = database.read_peak(mark), database.books(account)
    assert books.opened == churned.opened == 48
    assert (books.refused, books.current) == (0, 0)
    assert peak.doubt == ""
    assert 1 <= peak.connections <= 4
    database.drop(account)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    code, folder, printed = run_matrix("distance", tmp_path_factory.mktemp("distance"))
    assert code == 0, printed
    summary = json.loads((folder / "summary.json").read_text())
    return summary["run"], {cell["id"]: cell["metrics"] for cell in summary["cells"]}


def test_a_connection_costs_more_the_further_it_goes(
    cells: tuple[dict[str, Any], dict[str, dict[str, Any]]],
) -> None:
    run, metrics = cells
    (far,) = [one["distance"] for one in run["databases"] if one["distance"] is not None]
    assert (far["by"], far["asked_ms"]) == ("relay", 5.0)
    assert far["far_ms"] >= 5.0
    for distance in ("0ms", "5ms"):
        seen = metrics[f"pg-sync-per-request-round-trip-{distance}"]["connections"]
        assert seen["opened_per_request"]["value"] == pytest.approx(1.0, rel=0.01)
        assert seen["peak"]["value"] <= 4
        assert seen["lingering"]["value"] == 0
        assert seen["as_predicted"]
    # Connecting takes several round trips, of which none can be had for less.
    assert metrics["pg-sync-per-request-round-trip-5ms"]["waterfall_ms"]["connect"]["value"] > 4 * 5.0
