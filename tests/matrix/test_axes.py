from typing import Any

import pytest

from runner.matrix.axes import Parameter, parse_parameter, same, selects, unknown_part, with_parameters
from runner.matrix.expansion import expand
from runner.matrix.spec import LoadSpec
from runner.stacks.connection import ConnectionSpec
from runner.stacks.pools.native import NativePoolSpec
from runner.stacks.versions import recipe
from tests.matrix.examples import POSTGRES, age, make_cell, make_matrix, pool


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        ("load.users", Parameter("load.users", "load", "", ("users",))),
        ("servers.a.threads", Parameter("servers.a.threads", "servers", "a", ("threads",))),
        (
            "connections.p.pool.max_size",
            Parameter("connections.p.pool.max_size", "connections", "p", ("pool", "max_size")),
        ),
        (
            "databases.pg.settings.a.b",
            Parameter("databases.pg.settings.a.b", "databases", "pg", ("settings", "a.b")),
        ),
        *((axis, None) for axis in ("server", "load", "servers.a", "apps.a.b", "servers..b", "", ".")),
    ],
)
def test_parameters(axis: str, expected: Parameter | None) -> None:
    assert parse_parameter(axis) == expected


def test_parameters_replace_and_validate() -> None:
    spec = ConnectionSpec.model_validate(pool(min_size=2, timeout="3s"))
    changed = with_parameters(spec, {("pool", "max_size"): 8, ("conn_health_checks",): True})
    assert isinstance(changed.pool, NativePoolSpec)
    assert (changed.pool.min_size, changed.pool.max_size, changed.pool.timeout) == (2, 8, 3.0)
    assert changed.conn_health_checks
    assert with_parameters(spec, {}) is spec


@pytest.mark.parametrize(
    ("spec", "path", "expected"),
    [
        (LoadSpec(), ("users",), None),
        (LoadSpec(), ("users", "x"), (1, [])),
        (ConnectionSpec(), ("conn_maxage",), (0, list(ConnectionSpec.model_fields))),
        (ConnectionSpec(), ("pool", "max_size"), (1, [])),
        (ConnectionSpec.model_validate(pool()), ("pool",), (1, list(NativePoolSpec.model_fields))),
        (make_cell(POSTGRES, {"kind": "uwsgi"}, age(0)).database, ("settings",), (1, [])),
        (make_cell(POSTGRES, {"kind": "uwsgi"}, age(0)).database, ("settings", "a.b"), None),
    ],
)
def test_parts_that_do_not_exist(spec: Any, path: tuple[str, ...], expected: object) -> None:
    assert unknown_part(spec, path) == expected


def test_sameness() -> None:
    assert same(1, 1.0)
    assert same(None, None)
    assert same(True, True)
    assert not same(True, 1)
    assert not same(0, False)


def test_selection() -> None:
    axes = {"server": "uwsgi", "load.users": 4}
    assert selects({}, axes)
    assert selects({"server": ["sync", "uwsgi"], "load.users": 4}, axes)
    assert not selects({"server": "sync"}, axes)
    assert not selects({"servers.uwsgi.threads": 4}, axes)


def test_a_packages_version_is_an_axis_by_its_bare_name() -> None:
    cells = expand(
        make_matrix(
            {
                "database": ["pg"],
                "server": ["sync"],
                "connection": ["forever"],
                "django": ["4.2", "5.2"],
                "python": ["3.12"],
            }
        )
    ).cells
    assert [cell.id for cell in cells] == [
        "pg-sync-forever-django-4-2-python-3-12",
        "pg-sync-forever-django-5-2-python-3-12",
    ]
    assert cells[0].environment == recipe("psycopg3", {"python": "3.12", "django": "4.2"})
    assert cells[0].axes["django"] == "4.2"


def test_versions_of_all_cells_and_an_axis_over_one() -> None:
    matrix = make_matrix(
        {"database": ["pg"], "server": ["sync"], "connection": ["forever"], "versions.psycopg": ["3.1", "3.2"]},
        versions={"django": "5.1"},
    )
    assert [dict(cell.versions) for cell in expand(matrix).cells] == [
        {"django": "5.1", "psycopg": "3.1"},
        {"django": "5.1", "psycopg": "3.2"},
    ]
