"""Which locked environment a stack runs in follows from what each of its parts needs."""

import pytest

from runner.stacks.packages import ENVIRONMENTS, LOCKS, environment_with, locked_packages
from runner.stacks.versions import Recipe
from tests.matrix.examples import GEVENT, MYSQL, POSTGRES, PSYCOPG2, SYNC, UWSGI, age, make_cell, pool


def test_every_lock_is_known() -> None:
    assert set(ENVIRONMENTS) == {path.stem.removeprefix("app-") for path in LOCKS.glob("app-*.txt")}


@pytest.mark.parametrize(
    ("packages", "environment"),
    [
        ({"psycopg", "gunicorn"}, "psycopg3"),
        ({"psycopg2-binary"}, "psycopg2"),
        ({"mysqlclient"}, "psycopg3"),
        ({"eventlet", "psycopg"}, "eventlet"),
        ({"eventlet", "mysqlclient"}, "eventlet"),
        ({"django-postgrespool2", "psycopg2-binary"}, "postgrespool2"),
        ({"eventlet", "psycopg2-binary"}, None),
        ({"no-such-package"}, None),
    ],
)
def test_the_first_that_has_all(packages: set[str], environment: str | None) -> None:
    assert environment_with(packages) == environment


def test_psycopg_2_and_3_are_never_together() -> None:
    for name in ENVIRONMENTS:
        assert not {"psycopg", "psycopg2-binary"} <= locked_packages(name)


def test_a_cell_runs_where_all_its_parts_can() -> None:
    assert make_cell(POSTGRES, SYNC, pool()).environment == Recipe("psycopg3")
    assert make_cell(MYSQL, UWSGI, age(0)).environment == Recipe("psycopg3")
    assert make_cell(PSYCOPG2, {**GEVENT, "psycogreen": True}, age(0)).environment == Recipe("psycopg2")
