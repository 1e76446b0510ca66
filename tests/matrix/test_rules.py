import signal
from typing import Any

import pytest

from runner.matrix.phases import PhaseSpec
from runner.matrix.rules import RULES, Combination, why_impossible
from runner.stacks.servers.gunicorn import GunicornSpec
from tests.matrix.examples import GEVENT, GTHREAD, MYSQL, POSTGRES, PSYCOPG2, SYNC, UWSGI, age, bouncer, make_cell, pool

GREEN = {**GEVENT, "psycogreen": True}


class NeedyGunicorn(GunicornSpec):
    """Asks for what is nowhere together with psycopg2."""

    @property
    def packages(self) -> frozenset[str]:
        return frozenset({"eventlet", "gunicorn"})


def reason(database: dict[str, Any], server: dict[str, Any], connection: dict[str, Any]) -> str | None:
    cell = make_cell(database, server, connection)
    return why_impossible(Combination(cell.database, cell.server, cell.connection))


@pytest.mark.parametrize(
    ("database", "server", "connection", "words"),
    [
        (
            MYSQL,
            SYNC,
            pool(),
            "Django's native pool is PostgreSQL's alone: on MySQL and MariaDB the first query is a TypeError",
        ),
        (
            PSYCOPG2,
            SYNC,
            pool(),
            "native pool needs psycopg 3: with psycopg2 the first query is an ImproperlyConfigured",
        ),
        (POSTGRES, SYNC, {**pool(), **age(60)}, "a pool needs conn_max_age 0, not 60: "),
        (POSTGRES, SYNC, {**pool(), **age(None)}, "a pool needs conn_max_age 0, not null: "),
        (
            POSTGRES,
            SYNC,
            pool(min_size=5, max_size=4),
            "max_size 4 is below min_size 5: the first query is a ValueError",
        ),
        (
            POSTGRES,
            SYNC,
            pool(max_size=3),
            "max_size 3 is below min_size 4 (its default): the first query is a ValueError",
        ),
        (POSTGRES, SYNC, pool(min_size=0), "min_size 0 needs a max_size"),
        (
            MYSQL,
            UWSGI,
            {"pool": {"kind": "dj_db_conn_pool", "pool_size": 1, "max_overflow": 2}, **age(None)},
            "each of 4 threads keeps its connection, and pool_size + max_overflow have room for 3: the others' queries",
        ),
        (POSTGRES, SYNC, {"pool": {"kind": "postgrespool2"}}, "django-postgrespool2 is written for psycopg2"),
        (MYSQL, GEVENT, {"pool": {"kind": "geventpool"}}, "django-db-geventpool is PostgreSQL's alone"),
        (POSTGRES, GREEN, age(0), "psycogreen is for psycopg2: psycopg 3 gives way"),
        (MYSQL, GREEN, age(0), "psycogreen is for psycopg2: it does nothing for mysqlclient"),
    ],
)
def test_impossible(database: Any, server: Any, connection: Any, words: str) -> None:
    found = reason(database, server, connection)
    assert found is not None
    assert words in found


@pytest.mark.parametrize(
    ("database", "server", "connection"),
    [
        (POSTGRES, SYNC, pool()),
        (POSTGRES, SYNC, {**pool(min_size=4, max_size=4), **age(0)}),
        (POSTGRES, SYNC, pool(max_size=4)),
        (POSTGRES, SYNC, pool(min_size=0, max_size=1)),
        (POSTGRES, GEVENT, age(None)),
        (POSTGRES, UWSGI, {"pool": {"kind": "dj_db_conn_pool", "pool_size": 2, "max_overflow": 2}, **age(None)}),
        (MYSQL, UWSGI, {"pool": {"kind": "dj_db_conn_pool", "pool_size": 1, "max_overflow": 0}}),
        ({**MYSQL, "driver": "pymysql"}, GEVENT, {"pool": {"kind": "dj_db_conn_pool"}}),
        (PSYCOPG2, GTHREAD, {"pool": {"kind": "postgrespool2"}}),
        (PSYCOPG2, GREEN, {"pool": {"kind": "geventpool"}}),
        (PSYCOPG2, GREEN, age(60)),
        (PSYCOPG2, GEVENT, age(0)),
        (MYSQL, GEVENT, age(None)),
        (MYSQL, SYNC, {"conn_health_checks": True, **age(60)}),
    ],
)
def test_possible(database: Any, server: Any, connection: Any) -> None:
    assert reason(database, server, connection) is None


def test_poolers(monkeypatch: pytest.MonkeyPatch) -> None:
    def why(database: dict[str, Any], pooler: dict[str, Any] | None) -> str | None:
        cell = make_cell(database, SYNC, age(0), pooler)
        return why_impossible(Combination(cell.database, cell.server, cell.connection, pooler=cell.pooler))

    assert why(POSTGRES, bouncer()) is why(PSYCOPG2, bouncer("session")) is why(MYSQL, None) is None
    assert "PgBouncer speaks PostgreSQL's protocol alone" in str(why(MYSQL, bouncer()))
    proxysql = {"kind": "proxysql"}
    assert "for PostgreSQL there is PgBouncer" in str(why(POSTGRES, proxysql))
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert str(why(MYSQL, proxysql)).startswith("not installed: ")
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/usr/bin/proxysql")
    assert why(MYSQL, proxysql) == "connbench does not drive ProxySQL (/usr/bin/proxysql) yet"


def test_a_stack_whose_packages_are_in_no_environment_together() -> None:
    cell = make_cell(PSYCOPG2, SYNC, age(0))
    found = why_impossible(Combination(cell.database, NeedyGunicorn(), cell.connection))
    assert found == "no locked app environment has all of eventlet, gunicorn, psycopg2-binary"


class DeafGunicorn(GunicornSpec):
    """Has no signal for a reload."""

    @property
    def reload_signal(self) -> signal.Signals | None:
        return None


def test_a_reload_that_nothing_asks_for() -> None:
    cell = make_cell(POSTGRES, SYNC, age(0))
    phases = (PhaseSpec(fault="reload-workers"),)
    found = why_impossible(Combination(cell.database, DeafGunicorn(), cell.connection, phases))
    assert found == "gunicorn sync 4 has no signal for a graceful reload"
    assert why_impossible(Combination(cell.database, cell.server, cell.connection, phases)) is None


def test_a_server_that_is_bound_to_the_systems_python() -> None:
    cell = make_cell(POSTGRES, {"kind": "mod_wsgi"}, age(0))
    combination = Combination(cell.database, cell.server, cell.connection)
    assert why_impossible(combination._replace(versions={"django": "5.2"})) is None
    found = why_impossible(combination._replace(versions={"python": "3.12"}))
    assert found == "mod_wsgi is compiled for the system's own Python: python 3.12 cannot be asked for"


def test_a_fault_in_a_server_that_is_not_the_runs_own() -> None:
    cell = make_cell({**POSTGRES, "url_from": "PROD_LIKE_URL"}, SYNC, age(0))
    combination = Combination(cell.database, cell.server, cell.connection, (PhaseSpec(fault="restart-database"),))
    found = why_impossible(combination)
    assert found == "restart-database: a server at `url_from` is neither started nor stopped by a run"
    assert why_impossible(combination._replace(phases=(PhaseSpec(fault="kill-connections"),))) is None


def test_every_rule_is_tried() -> None:
    assert len(RULES) == 7
