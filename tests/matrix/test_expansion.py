import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import UsageError
from runner.matrix.cells import Cell, SkippedCell
from runner.matrix.expansion import EXCLUDED, MOST_CELLS, Expansion, expand
from tests.matrix.examples import bouncer, make_matrix

NAMES = {"database": ["pg"], "server": ["sync", "uwsgi"], "connection": ["per-request", "forever", "pooled"]}


def expanded(matrix: Mapping[str, Any], **rest: Any) -> Expansion:
    return expand(make_matrix({**NAMES, **matrix}, **rest))


def by_id(expansion: Expansion) -> dict[str, Cell]:
    return {cell.id: cell for cell in expansion.cells}


def test_the_product_in_the_order_of_the_file() -> None:
    assert [cell.id for cell in expanded({}).cells] == [
        "pg-sync-per-request",
        "pg-sync-forever",
        "pg-sync-pooled",
        "pg-uwsgi-per-request",
        "pg-uwsgi-forever",
        "pg-uwsgi-pooled",
    ]
    turned = make_matrix({"connection": ["forever", "per-request"], "server": ["uwsgi", "sync"], "database": ["pg"]})
    assert [cell.id for cell in expand(turned).cells] == [
        "pg-uwsgi-forever",
        "pg-sync-forever",
        "pg-uwsgi-per-request",
        "pg-sync-per-request",
    ]


def test_a_server_parameter_varies_the_cells_of_that_server_alone() -> None:
    expansion = expanded({"servers.uwsgi.threads": [1, 2, 4], "connection": ["forever"]})
    assert [cell.id for cell in expansion.cells] == [
        "pg-sync-forever",
        "pg-uwsgi-forever-threads-1",
        "pg-uwsgi-forever-threads-2",
        "pg-uwsgi-forever-threads-4",
    ]
    assert [cell.server.threads_per_process for cell in expansion.cells] == [1, 1, 2, 4]
    assert "servers.uwsgi.threads" not in expansion.cells[0].axes
    assert expansion.cells[2].axes["servers.uwsgi.threads"] == 2


def test_a_parameter_before_the_axis_of_its_definition() -> None:
    matrix = {
        "servers.uwsgi.threads": [1, 2],
        "database": ["pg"],
        "server": ["sync", "uwsgi"],
        "connection": ["forever"],
    }
    assert [cell.id for cell in expand(make_matrix(matrix)).cells] == [
        "pg-sync-forever",
        "pg-uwsgi-forever-threads-1",
        "pg-uwsgi-forever-threads-2",
    ]


def test_load_parameters_vary_all_cells() -> None:
    expansion = expanded({"load.keep_alive": [True, False], "load.users": [1, 8], "connection": ["forever"]})
    assert len(expansion.cells) == 8
    cell = by_id(expansion)["pg-sync-forever-keep-alive-false-users-8"]
    assert (cell.load.keep_alive, cell.load.users) == (False, 8)


def test_durations_null_and_settings_as_parameters() -> None:
    expansion = expanded(
        {
            "server": ["sync"],
            "connection": ["per-request"],
            "connections.per-request.conn_max_age": [0, None],
            "load.count": ["500ms", "1.5s"],
            "databases.pg.settings.auto_explain.log_analyze": [True],
        }
    )
    cell = by_id(expansion)["pg-sync-per-request-conn-max-age-none-count-1-5s-log-analyze-true"]
    assert cell.connection.conn_max_age is None
    assert cell.load.count == 1.5
    assert cell.database.settings == {"auto_explain.log_analyze": True}


def test_names_of_parameters_are_as_long_as_they_must_be() -> None:
    connections = {"pooled": {"pool": {"kind": "native", "timeout": "5s"}}, "direct": {}}
    axes = {
        "database": ["pg"],
        "server": ["sync", "uwsgi"],
        "connection": ["pooled"],
        "connections.pooled.pool.max_size": [4, 8],
        "databases.pg.settings.max_size": [1],
        "servers.sync.workers": [2],
        "servers.uwsgi.processes": [2],
    }
    ids = [cell.id for cell in expand(make_matrix(axes, connections=connections)).cells]
    assert ids[0] == "pg-sync-pooled-pool-max-size-4-settings-max-size-1-workers-2"


def test_a_whole_definition_is_validated_again() -> None:
    expansion = expanded(
        {"servers.sync.worker_class": ["sync", "gthread"], "servers.sync.threads": [2], "server": ["sync"]}
    )
    assert {cell.id for cell in expansion.skipped} == {
        f"pg-sync-{connection}-worker-class-sync-threads-2" for connection in NAMES["connection"]
    }
    assert expansion.skipped[0].reason == "threads needs worker_class gthread, not sync"
    assert {cell.server.threads_per_process for cell in expansion.cells} == {2}


def test_excluded_and_impossible_cells_are_listed() -> None:
    expansion = expanded(
        {"database": ["pg", "my"]},
        exclude=[
            {"server": "sync", "connection": ["forever", "pooled"]},
            {"database": "my", "server": "sync"},
        ],
    )
    reasons = {cell.id: cell.reason for cell in expansion.skipped}
    assert set(reasons) == {
        "pg-sync-forever",
        "pg-sync-pooled",
        "my-sync-per-request",
        "my-sync-forever",
        "my-sync-pooled",
        "my-uwsgi-pooled",
    }
    assert reasons["my-sync-pooled"] == EXCLUDED
    assert "TypeError" in reasons["my-uwsgi-pooled"]


def test_exclusion_by_a_parameter_keeps_true_and_one_apart() -> None:
    matrix = {"load.keep_alive": [True, False], "load.users": [1, 2]}
    assert not expanded(matrix, exclude=[{"load.keep_alive": 1}]).skipped
    assert len(expanded(matrix, exclude=[{"load.users": 1.0}]).skipped) == 12


def test_the_reference_differs_in_the_connection_alone() -> None:
    expansion = expanded({"load.users": [1, 2]})
    cells = by_id(expansion)
    assert cells["pg-sync-per-request-users-1"].reference is None
    assert cells["pg-sync-pooled-users-1"].reference == "pg-sync-per-request-users-1"
    assert cells["pg-uwsgi-forever-users-2"].reference == "pg-uwsgi-per-request-users-2"


def test_the_reference_that_the_matrix_names() -> None:
    cells = by_id(expanded({}, reference="forever"))
    assert cells["pg-sync-per-request"].reference == "pg-sync-forever"
    assert cells["pg-sync-forever"].reference is None


def test_no_reference_where_it_is_left_out() -> None:
    cells = by_id(expanded({}, exclude=[{"server": "sync", "connection": "per-request"}]))
    assert cells["pg-sync-forever"].reference is None
    assert cells["pg-uwsgi-forever"].reference == "pg-uwsgi-per-request"


def test_a_reference_with_variants_is_the_first_of_them() -> None:
    cells = by_id(expanded({"connections.per-request.conn_health_checks": [False, True], "server": ["sync"]}))
    first = "pg-sync-per-request-conn-health-checks-false"
    assert cells[first].reference is None
    assert cells["pg-sync-per-request-conn-health-checks-true"].reference == first
    assert cells["pg-sync-forever"].reference == first


def test_too_many_cells_are_counted_and_not_made() -> None:
    numbers = list(range(1, 1001))
    matrix = make_matrix(
        {**NAMES, "load.users": numbers, "load.windows": numbers, "servers.uwsgi.threads": numbers[:256]}
    )
    with pytest.raises(UsageError, match=r"771,000,000 cells; at most 2,000 are taken"):
        expand(matrix)
    with pytest.raises(UsageError, match="6 cells; at most 5"):
        expand(make_matrix(NAMES), limit=5)
    assert MOST_CELLS == 2_000


def test_more_cells_can_be_asked_for() -> None:
    matrix = make_matrix({**NAMES, "load.users": list(range(1, 401))})
    with pytest.raises(UsageError, match=r"2,400 cells; at most 2,000 are taken\. .*--yes"):
        expand(matrix)
    assert len(expand(matrix, limit=None).cells) == 2_400


def test_equal_ids_are_refused() -> None:
    servers = {"a_b": {"kind": "uwsgi"}, "a-b": {"kind": "uwsgi"}}
    matrix = make_matrix({**NAMES, "server": ["a_b", "a-b"]}, servers=servers)
    with pytest.raises(UsageError, match=r"2 cells would have the id 'pg-a-b-per-request': .*a_b.* and .*a-b.*Rename"):
        expand(matrix)


def test_an_id_can_be_a_folder() -> None:
    settings = {f"databases.pg.settings.{'x' * 40}{n}": ["y" * 40] for n in range(3)}
    with pytest.raises(UsageError, match="characters, at most 160: shorten names"):
        expanded(settings)
    assert "setting-minus-1" in expanded({"databases.pg.settings.setting": [-1]}).cells[0].id
    assert expanded({"databases.pg.settings.setting": ["///"]}).cells[0].id.endswith("setting-empty")


def subsets(values: list[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), min_size=1, unique=True)


@given(
    axes=st.fixed_dictionaries(
        {
            "database": subsets(["pg", "my"]),
            "server": st.permutations(["sync", "uwsgi", "gevent"]),
            "connection": st.permutations(["per-request", "forever", "pooled"]),
        },
        optional={
            "servers.uwsgi.threads": subsets([1, 2, 4]),
            "connections.pooled.pool.max_size": subsets([1, 4, None]),
            "load.users": subsets([1, 16]),
            "load.keep_alive": subsets([True, False]),
        },
    ).flatmap(lambda axes: st.permutations(list(axes.items())).map(dict))
)
def test_ids_counts_and_order(axes: dict[str, list[Any]]) -> None:
    expansion = expand(make_matrix(axes))
    cells: list[Cell | SkippedCell] = [*expansion.cells, *expansion.skipped]
    ids = [cell.id for cell in cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", cell_id) for cell_id in ids)
    servers = 2 + len(axes.get("servers.uwsgi.threads", [0]))
    connections = 2 + len(axes.get("connections.pooled.pool.max_size", [0]))
    loads = len(axes.get("load.users", [0])) * len(axes.get("load.keep_alive", [0]))
    assert len(cells) == len(axes["database"]) * servers * connections * loads
    places = [
        [values.index(c.axes[axis]) if axis in c.axes else -1 for axis, values in axes.items()] for c in expansion.cells
    ]
    assert places == sorted(places)
    known = by_id(expansion)
    for cell in expansion.cells:
        if cell.reference is not None:
            assert known[cell.reference].reference is None
            assert known[cell.reference].server == cell.server
            assert known[cell.reference].load == cell.load


# --- poolers ---

POOLERS = {"few": bouncer(pool_size=4), "many": bouncer("session")}


def test_a_matrix_without_the_axis_has_no_poolers() -> None:
    for cell in expanded({}).cells:
        assert cell.pooler is None
        assert "pooler" not in cell.axes


def test_the_axis_pooler() -> None:
    expansion = expanded(
        {"database": ["pg", "my"], "server": ["sync"], "connection": ["forever"], "pooler": ["few", "none"]},
        poolers=POOLERS,
    )
    assert [cell.id for cell in expansion.cells] == [
        "pg-sync-forever-few",
        "pg-sync-forever-none",
        "my-sync-forever-none",
    ]
    few, none, _ = expansion.cells
    assert few.pooler is not None
    assert few.pooler.server_limit == 4
    assert none.pooler is None
    assert [(cell.id, "MySQL" in cell.reason) for cell in expansion.skipped] == [("my-sync-forever-few", True)]


def test_a_pooler_is_compared_to_the_first_one() -> None:
    cells = by_id(expanded({"server": ["sync"], "pooler": ["none", "few"]}, poolers=POOLERS))
    assert {cell.reference for cell in cells.values()} == {None, "pg-sync-per-request-none"}
    assert cells["pg-sync-per-request-none"].reference is None
    assert cells["pg-sync-per-request-few"].reference == "pg-sync-per-request-none"


def test_a_poolers_parameter() -> None:
    cells = by_id(
        expanded(
            {"server": ["sync"], "connection": ["forever"], "pooler": ["none", "few"], "poolers.few.pool_size": [2, 8]},
            poolers=POOLERS,
        )
    )
    limits = {name: cell.pooler.server_limit for name, cell in cells.items() if cell.pooler is not None}
    assert limits == {"pg-sync-forever-few-pool-size-2": 2, "pg-sync-forever-few-pool-size-8": 8}
    assert "pg-sync-forever-none" in cells
