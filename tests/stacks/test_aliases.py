"""What becomes of an app's own databases: handled, or refused with the reason."""

import runpy
from typing import Any

import pytest

from runner.stacks.app import OVERLAY

# It is imported in the app's process alone, from a folder of its own.
ALIASES = runpy.run_path(str(OVERLAY / "connbench_aliases.py"))
under_test, Refused = ALIASES["under_test"], ALIASES["Refused"]
PG = "django.db.backends.postgresql"
CELL = {"ENGINE": PG, "NAME": "cell", "HOST": "127.0.0.1", "PORT": 15000, "CONN_MAX_AGE": 0}


def default(**more: Any) -> dict[str, Any]:
    return {"ENGINE": PG, "NAME": "live", "HOST": "db.example", "USER": "live", "PASSWORD": "secret", **more}


def test_the_cells_database_takes_the_place_of_the_apps_own_whole() -> None:
    own = {"default": default(CONN_MAX_AGE=600, OPTIONS={"sslmode": "require"})}
    assert under_test(own, CELL, {}) == {"default": CELL}


def test_an_app_without_databases_has_the_cells() -> None:
    assert under_test({}, CELL, {}) == {"default": CELL}


def test_how_the_apps_code_works_is_kept_unless_the_cell_says() -> None:
    own = {"default": default(ATOMIC_REQUESTS=True, TIME_ZONE="Europe/Berlin")}
    assert under_test(own, CELL, {})["default"] == {**CELL, "ATOMIC_REQUESTS": True, "TIME_ZONE": "Europe/Berlin"}
    cell = {**CELL, "ATOMIC_REQUESTS": False}
    assert under_test(own, cell, {})["default"]["ATOMIC_REQUESTS"] is False


@pytest.mark.parametrize("replica", [{"TEST": {"MIRROR": "default"}, "NAME": "copy"}, {"HOST": "replica.example"}])
def test_a_replica_is_the_same_database(replica: dict[str, Any]) -> None:
    own = {"default": default(), "replica": default(**replica)}
    assert under_test(own, CELL, {}) == {"default": CELL, "replica": CELL}


def test_another_database_is_refused_until_somebody_says_what_it_is() -> None:
    own = {"default": default(), "metrics": default(NAME="metrics", HOST="other.example")}
    with pytest.raises(Refused, match=r"'metrics' beside 'default'.*`metrics: default`.*`metrics: none`"):
        under_test(own, CELL, {})
    assert under_test(own, CELL, {"metrics": "default"}) == {"default": CELL, "metrics": CELL}
    assert under_test(own, CELL, {"metrics": "none"}) == {"default": CELL}


def test_a_database_in_a_file_stays_where_somebody_says_so() -> None:
    """It is the project's own, and the app may write to it."""
    own = {"default": default(), "cache": {"ENGINE": "django.db.backends.sqlite3", "NAME": "in_memory.sqlite3"}}
    with pytest.raises(Refused, match=r"'cache' beside 'default', in a file .*`cache: keep`.* or `cache: none`"):
        under_test(own, CELL, {})
    assert under_test(own, CELL, {"cache": "keep"}) == {"default": CELL, "cache": own["cache"]}
    assert under_test(own, CELL, {"cache": "default"}) == {"default": CELL, "cache": CELL}


@pytest.mark.parametrize("name", [":memory:", "file::memory:?cache=shared", "file:quick?mode=memory"])
def test_a_database_in_memory_is_nobodys_and_stays(name: str) -> None:
    quick = {"ENGINE": "django.db.backends.sqlite3", "NAME": name}
    assert under_test({"default": default(), "quick": quick}, CELL, {}) == {"default": CELL, "quick": quick}


def test_a_database_on_a_server_is_never_kept() -> None:
    own = {"default": default(), "metrics": default(NAME="metrics", HOST="other.example")}
    with pytest.raises(Refused, match="keeps the database 'metrics', which is on a server"):
        under_test(own, CELL, {"metrics": "keep"})


def test_two_files_are_two_databases() -> None:
    own = {name: {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{name}.sqlite3"} for name in ("default", "other")}
    with pytest.raises(Refused, match="'other' beside 'default'"):
        under_test(own, CELL, {})


def test_a_database_that_the_app_does_not_have_is_refused() -> None:
    with pytest.raises(Refused, match="names the database 'replcia', which DATABASES does not have"):
        under_test({"default": default()}, CELL, {"replcia": "none"})


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ("django.contrib.gis.db.backends.postgis", "GeoDjango's engine .*without PostGIS"),
        ("django.contrib.gis.db.backends.spatialite", "GeoDjango's engine"),
        ("django_tenants.postgresql_backend", "does more than Django's own"),
        ("mssql", "does more than Django's own"),
    ],
)
def test_an_engine_that_no_cell_can_stand_in_for_is_refused(engine: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        under_test({"default": default(ENGINE=engine)}, CELL, {})


@pytest.mark.parametrize("engine", ["django_prometheus.db.backends.postgresql", "dj_db_conn_pool.backends.mysql"])
def test_an_engine_that_only_counts_or_pools_is_replaced(engine: str) -> None:
    assert under_test({"default": default(ENGINE=engine)}, CELL, {})["default"]["ENGINE"] == PG
