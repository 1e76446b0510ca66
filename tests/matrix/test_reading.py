import contextlib
import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from runner.durations import parse_duration, write_duration
from runner.errors import UsageError
from runner.matrix.expansion import expand
from runner.matrix.metrics import METRICS
from runner.matrix.reading import read_matrix
from runner.matrix.spec import MatrixFile
from tests.matrix.examples import ROOT

FUZZ_EXAMPLES = int(os.environ.get("CONNBENCH_FUZZ_EXAMPLES", "2000"))

GOOD = """\
name: good
app: shop
load: {profile: mixed, users: 16, count: 2s}
blocks: 3
databases:
  pg: {engine: postgres}
servers:
  sync:  {kind: gunicorn, workers: 4}
  uwsgi: {kind: uwsgi, threads: 4}
connections:
  zero:   {conn_max_age: 0}
  pooled: {pool: {kind: native, max_size: 4}}
matrix:
  database:   [pg]
  server:     [sync, uwsgi]
  connection: [zero, pooled]
  servers.uwsgi.threads: [1, 2]
exclude:
  - {server: sync, connection: pooled}
expect:
  - {where: {server: uwsgi}, connections.peak: {at_most: 16}, errors.total: {at_most: 0}}
reference: zero
"""

EXPECTATION = "  - {where: {server: uwsgi}, connections.peak: {at_most: 16}, errors.total: {at_most: 0}}"


def read(tmp_path: Path, text: str) -> MatrixFile:
    path = tmp_path / "m.yaml"
    # ext4 writes a file that was cut to nothing to the disk at once, which thousands of examples would wait for.
    path.unlink(missing_ok=True)
    path.write_text(text)
    return read_matrix(path)


def refusal(tmp_path: Path, text: str) -> list[str]:
    """The lines of the refusal, without the file's name."""
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    prefix = f"{tmp_path / 'm.yaml'}:"
    return [line.removeprefix(prefix) for line in str(caught.value).splitlines()]


def test_a_good_matrix(tmp_path: Path) -> None:
    matrix = read(tmp_path, GOOD)
    assert matrix.load.count == 2.0
    assert list(matrix.matrix) == ["database", "server", "connection", "servers.uwsgi.threads"]
    assert [(e.metric, e.at_most, e.where) for e in matrix.expect] == [
        ("connections.peak", 16, {"server": "uwsgi"}),
        ("errors.total", 0, {"server": "uwsgi"}),
    ]


@pytest.mark.parametrize("path", [ROOT / "matrix.yaml", *sorted((ROOT / "matrices").rglob("*.yaml"))], ids=str)
def test_committed_matrices_are_good(path: Path) -> None:
    assert expand(read_matrix(path)).cells


def test_a_resolved_matrix_can_be_read_again(tmp_path: Path) -> None:
    matrix = read(tmp_path, GOOD)
    dumped = json.loads(matrix.model_dump_json())
    assert dumped["load"]["count"] == "2s"
    assert MatrixFile.model_validate(dumped, strict=True) == matrix


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # unknown keys
        ("users: 16", "user: 16", "3:24: load.user: no such setting; allowed: profile, model, rate, "),
        (
            "blocks: 3",
            "block: 3",
            "4:1: block: no such setting; allowed: name, app, load, sampling, versions, roles, hosts, blocks, ",
        ),
        (
            "blocks: 3",
            "hosts: {app: east, database: west, pooller: west}",
            "4:36: hosts.pooller: no such setting; allowed: app, database, pooler; did you mean 'pooler'?",
        ),
        (
            "blocks: 3",
            "hosts: {app: east, database: http://west}",
            "4:30: hosts.database: found 'http://west', allowed: ssh://user@host, tcp://host:port, or a context's name",
        ),
        (
            "workers: 4",
            "wrkers: 4",
            "8:27: servers.sync.wrkers: no such setting; allowed: kind, worker_class, workers",
        ),
        (
            "max_size: 4",
            "maxsize: 4",
            "12:33: connections.pooled.pool.maxsize: no such setting; allowed: kind, min_size",
        ),
        # what is missing
        ("name: good\n", "", "1:1: name is missing"),
        (
            "{kind: uwsgi, threads: 4}",
            "{threads: 4}",
            "9:3: servers.uwsgi: kind is missing; allowed: gunicorn, uwsgi",
        ),
        ("{engine: postgres}", "{}", "6:3: databases.pg: engine is missing; allowed: postgres, mysql"),
        ("kind: native, ", "", "12:12: connections.pooled.pool: kind is missing"),
        # wrong names among fixed ones
        (
            "engine: postgres",
            "engine: postgre",
            "6:16: databases.pg.engine: found 'postgre', allowed: postgres, mysql, mariadb; did you",
        ),
        (
            "kind: uwsgi",
            "kind: uwsg",
            (
                "9:17: servers.uwsgi.kind: found 'uwsg', "
                "allowed: gunicorn, uwsgi, runserver, uvicorn, daphne, granian, mod_wsgi; did you mean 'uwsgi'?"
            ),
        ),
        ("kind: uwsgi", "kind: [a]", "9:17: servers.uwsgi.kind: found"),
        (
            "kind: native",
            "kind: nativ",
            "12:25: connections.pooled.pool.kind: found 'nativ', allowed: native, dj_db_conn_pool, postgrespool2, ",
        ),
        (
            "workers: 4",
            "worker_class: gevnt",
            "8:41: servers.sync.worker_class: found 'gevnt', allowed: sync, gthread, gevent",
        ),
        # wrong types
        ("users: 16", "users: many", "3:31: load.users: found 'many', allowed: a whole number"),
        ("users: 16", "users: true", "3:31: load.users: found true, allowed: a whole number"),
        ("users: 16", "users: 1.5", "3:31: load.users: found 1.5, allowed: a whole number"),
        ("users: 16", "users: 0", "3:31: load.users: found 0, allowed: 1 or more"),
        ("users: 16", "users: 99999", "3:31: load.users: found 99999, allowed: 10000 or less"),
        ("users: 16", "keep_alive: 'no'", "3:36: load.keep_alive: found 'no', allowed: true or false"),
        ("{engine: postgres}", "postgres", "6:7: databases.pg: found 'postgres', allowed: a mapping"),
        ("{conn_max_age: 0}", "zero", "11:11: connections.zero: found 'zero', allowed: a mapping"),
        ("[sync, uwsgi]", "sync", "15:15: matrix.server: found 'sync', allowed: a list"),
        ("[sync, uwsgi]", "[]", "15:15: matrix.server: found an empty list, allowed: one entry or more"),
        (
            "name: good",
            "name: Good one",
            "1:7: name: found 'Good one', allowed: a name of lower-case letters, digits",
        ),
        (
            "  zero: ",
            "  Zero: ",
            "11:3: connections.Zero: found 'Zero', allowed: a name of lower-case letters",
        ),
        # durations
        (
            "count: 2s",
            "count: 2",
            "3:42: load.count: a duration needs a unit, such as '4s' or '250ms', not 2",
        ),
        ("count: 2s", "count: 2h", "3:42: load.count: '2h' is no duration; write '4s', '250ms' or '2m'"),
        ("count: 2s", "count: 0s", "3:42: load.count: found '0s', allowed: more than 0"),
        # parameters that do not go together
        ("workers: 4", "threads: 4", "8:10: servers.sync: threads needs worker_class gthread, not sync"),
        # axes
        (
            "[sync, uwsgi]",
            "[sync, uwsg]",
            "15:22: matrix.server.1: found 'uwsg', allowed: sync, uwsgi; did you mean 'uwsgi'?",
        ),
        ("[sync, uwsgi]", "[sync, sync, uwsgi]", "15:22: matrix.server.1: found 'sync' twice on one axis"),
        ("  server:     [", "  servr:      [", "15:3: matrix.servr: no such axis"),
        (
            "  server:     [sync, uwsgi]\n",
            "",
            "13:1: matrix: the axis server is missing; servers defines sync, uwsgi: name",
        ),
        # dotted parameters
        (
            "uwsgi.threads: [",
            "uwsgi.treads: [",
            "17:3: matrix.servers.uwsgi.treads: no such parameter of servers.uwsgi: found 'treads', ",
        ),
        (
            "uwsgi.threads: [",
            "uwsgy.threads: [",
            "17:3: matrix.servers.uwsgy.threads: no such definition under servers: found 'uwsgy', ",
        ),
        (
            "uwsgi.threads: [1, 2]",
            "uwsgi.threads: [1, none]",
            "17:30: matrix.servers.uwsgi.threads.1: found 'none', allowed: a whole",
        ),
        (
            "uwsgi.threads: [1, 2]",
            "uwsgi.threads: [1, [2]]",
            "17:30: matrix.servers.uwsgi.threads.1: found a list, allowed: a single",
        ),
        (
            "servers.uwsgi.threads",
            "servers.sync.threads",
            "17:26: matrix.servers.sync.threads.0: threads needs worker_class gthread",
        ),
        ("servers.uwsgi.threads", "load.count", "17:16: matrix.load.count.0: a duration needs a unit"),
        (
            "servers.uwsgi.threads",
            "load.user",
            "17:3: matrix.load.user: no such parameter of load: found 'user', allowed: ",
        ),
        (
            "servers.uwsgi.threads",
            "connections.pooled.pool",
            "17:3: matrix.connections.pooled.pool: connections.pooled.pool is a group",
        ),
        (
            "servers.uwsgi.threads",
            "connections.zero.pool.min_size",
            "17:3: matrix.connections.zero.pool.min_size: connections.zero.pool is set to nothing",
        ),
        (
            "servers.uwsgi.threads",
            "databases.pg.settings",
            "17:3: matrix.databases.pg.settings: databases.pg.settings is a group of",
        ),
        ("servers.uwsgi.threads", "loads.users", "17:3: matrix.loads.users: no such axis"),
        ("servers.uwsgi.threads", "load..users", "17:3: matrix.load..users: no such axis"),
        # selections
        (
            "{server: sync, connection: pooled}",
            "{servr: sync}",
            "19:6: exclude.0.servr: no such axis; allowed: database, server, ",
        ),
        (
            "{server: sync, connection: pooled}",
            "{server: snc}",
            "19:14: exclude.0.server: found 'snc', allowed: sync, uwsgi; did",
        ),
        ("{server: sync, connection: pooled}", "{}", "19:5: exclude.0: found nothing to select by"),
        ("{server: sync, connection: pooled}", "sync", "19:5: exclude.0: found 'sync', allowed: a mapping"),
        (
            "where: {server: uwsgi}",
            "where: {server: [uwsgi, x]}",
            "21:30: expect.0.where.server.1: found 'x', allowed: sync, uwsgi",
        ),
        (
            "where: {server: uwsgi}",
            "where: {servers.uwsgi.threads: 3}",
            "21:37: expect.0.where.servers.uwsgi.threads: found 3, allowed: 1, 2",
        ),
        (
            "where: {server: uwsgi}",
            "where: uwsgi",
            "21:13: expect.0.where: found 'uwsgi', allowed: a mapping of axes to values",
        ),
        # expectations
        (
            "connections.peak:",
            "conections.peak:",
            "21:30: expect.0.conections.peak: no such metric; allowed: where, requests, ",
        ),
        (
            "{at_most: 16}",
            "{atmost: 16}",
            "21:49: expect.0.connections.peak.atmost: no such setting; allowed: at_most, at_least; did",
        ),
        (
            "{at_most: 16}",
            "{}",
            "21:48: expect.0.connections.peak: no bound; write `at_most:` or `at_least:`, or both",
        ),
        (
            "{at_most: 16}",
            "{at_most: 1, at_least: 2}",
            "21:48: expect.0.connections.peak: at_least 2 is above at_most 1",
        ),
        (
            "{at_most: 16}",
            "{at_most: '16'}",
            "21:58: expect.0.connections.peak.at_most: found '16', allowed: a number",
        ),
        ("{at_most: 16}", "16", "21:48: expect.0.connections.peak: found 16, allowed: a mapping"),
        (EXPECTATION, "  - {where: {}}", "21:5: expect.0: found no metric; allowed: requests, "),
        (EXPECTATION, "  - peak", "21:5: expect.0: found 'peak', allowed: a mapping"),
        (EXPECTATION, "  a: 1", "21:3: expect: found a mapping, allowed: a list"),
        # things that are files
        (
            "app: shop",
            "app: shp",
            "2:6: app: no folder under apps/ with an app.yaml: found 'shp', allowed: shop; did you mean",
        ),
        ("app: shop", "app: ../shop", "2:6: app: found '../shop', and there is no "),
        (
            "profile: mixed",
            "profile: mixt",
            "3:17: load.profile: no such file under locustfiles/: found 'mixt', allowed: ",
        ),
        (
            "servers.uwsgi.threads: [1, 2]",
            "load.profile: [read, wread]",
            "17:24: matrix.load.profile.1: no such file under locustfiles/",
        ),
        (
            "reference: zero",
            "reference: zeero",
            "22:12: reference: found 'zeero', allowed: zero, pooled; did you mean 'zero'?",
        ),
    ],
)
def test_refusals_say_where_what_and_what_instead(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    lines = refusal(tmp_path, GOOD.replace(old, new, 1))
    assert any(line.startswith(message) for line in lines), "\n".join(lines)


def test_all_problems_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("users: 16", "users: x").replace("kind: uwsgi", "kind: uwsg").replace("[pg]", "[pgg]")
    lines = refusal(tmp_path, text.replace("peak", "pek"))
    assert [line.split(":")[0] for line in lines] == ["3", "9", "14", "21"]


def test_parameters_that_another_axis_makes_valid_are_left_to_the_cells(tmp_path: Path) -> None:
    text = GOOD.replace(
        "servers.uwsgi.threads: [1, 2]",
        "servers.sync.threads: [2]\n  servers.sync.worker_class: [sync, gthread]",
    )
    assert read(tmp_path, text).matrix["servers.sync.threads"] == [2]


def test_a_parameter_of_a_definition_off_its_axis_varies_nothing(tmp_path: Path) -> None:
    lines = refusal(tmp_path, GOOD.replace("[sync, uwsgi]", "[sync]"))
    assert lines == ["17:3: matrix.servers.uwsgi.threads: uwsgi is not on the axis server, so this would vary nothing"]


def test_an_axis_with_one_definition_may_be_left_out(tmp_path: Path) -> None:
    assert expand(read(tmp_path, GOOD.replace("  database:   [pg]\n", ""))).cells[0].database_name == "pg"


def test_every_metric_can_be_expected(tmp_path: Path) -> None:
    entries = "".join(f"  - {{{metric}: {{at_least: 0}}}}\n" for metric in METRICS)
    text = GOOD[: GOOD.index("expect:")] + "expect:\n" + entries
    assert [expectation.metric for expectation in read(tmp_path, text).expect] == list(METRICS)


@pytest.mark.parametrize("text", ["- a\n", "5\n", "text\n"])
def test_what_is_no_mapping(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text)[0].endswith("allowed: a mapping that begins with `name:`")


@given(st.integers(min_value=1, max_value=3_600_000))
def test_durations_are_written_as_they_are_read(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(write_duration(seconds)) == pytest.approx(seconds, abs=1e-12)


ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    10**30,
    1.5,
    "",
    "pg",
    "sync",
    "4s",
    "a.b",
    "\u0085",
    [],
    {},
    [1],
    {"a": 1},
    [[]],
    [None],
    {"kind": "uwsgi"},
    {"kind": []},
    {"engine": {}},
    ["pg", "pg"],
    {"where": {"server": ["x"]}},
]
KEYS = [
    "kind",
    "engine",
    "load.users",
    "servers.uwsgi.kind",
    "load.count",
    "databases.pg.settings.x",
    "<<",
    "",
    "é",
]


def places(data: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*place, key)
        yield from places(value, (*place, key))


@st.composite
def mutated_data(draw: st.DrawFn) -> str:
    """A good matrix with some values replaced, keys renamed or entries removed, as JSON (which is YAML)."""
    data = YAML(typ="safe").load(GOOD)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.sampled_from(list(places(data)) or [()]))
        if not place:
            break
        owner = data
        for part in place[:-1]:
            owner = owner[part]
        match draw(st.sampled_from(["replace", "remove", "rename"])):
            case "replace":
                owner[place[-1]] = copy.deepcopy(draw(st.sampled_from(ODD)))
            case "remove":
                del owner[place[-1]]
            case _ if isinstance(owner, dict):
                owner[draw(st.sampled_from(KEYS))] = owner.pop(place[-1])
    return json.dumps(data)


@st.composite
def mutated_text(draw: st.DrawFn) -> str:
    """A good matrix with some stretches of its text replaced."""
    text = GOOD
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.integers(0, 12))
        text = text[:start] + draw(st.text(st.sampled_from("ab: {}[]-\n\t'\"&*!%#|>?,~0é\0"), max_size=6)) + text[end:]
    return text


@settings(
    max_examples=FUZZ_EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=mutated_data() | mutated_text())
def test_nothing_but_a_matrix_or_a_refusal(tmp_path: Path, text: str) -> None:
    with contextlib.suppress(UsageError):
        expand(read(tmp_path, text))


# --- poolers ---

WITH_POOLERS = GOOD.replace("matrix:\n", "poolers:\n  few: {kind: pgbouncer, pool_mode: transaction}\nmatrix:\n")


def test_poolers_are_named_on_their_axis(tmp_path: Path) -> None:
    matrix = read(tmp_path, WITH_POOLERS.replace("[zero, pooled]\n", "[zero, pooled]\n  pooler: [none, few]\n", 1))
    assert list(matrix.poolers) == ["few"]
    (line,) = refusal(tmp_path, WITH_POOLERS)
    assert "the axis pooler is missing; poolers defines few: name those to run" in line


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("few: {", "none: {", "none stands for no pooler"),
        ("kind: pgbouncer", "kind: pgbouncr", "did you mean 'pgbouncer'"),
        ("pool_mode: transaction", "pool_mode: transactions", "did you mean 'transaction'"),
        ("pool_mode: transaction", "poolsize: 4", "did you mean 'pool_size'"),
        ("pooler: [few]", "pooler: [many]", "found 'many', allowed: none, few"),
    ],
)
def test_wrong_poolers(tmp_path: Path, old: str, new: str, words: str) -> None:
    good = WITH_POOLERS.replace("[zero, pooled]\n", "[zero, pooled]\n  pooler: [few]\n", 1)
    assert words in "\n".join(refusal(tmp_path, good.replace(old, new, 1)))


SEARCH = "load: {profile: mixed, model: open, rate: search, slo: {p95: 200ms, errors: 0.1%}, users: 16, count: 2s}"
CLOSED = "load: {profile: mixed, users: 16, count: 2s}"


def test_a_rate_is_searched_that_keeps_a_service_level(tmp_path: Path) -> None:
    matrix = read(tmp_path, GOOD.replace(CLOSED, SEARCH))
    load = matrix.load
    assert load.searches
    assert load.pace == {}
    assert load.slo is not None
    assert load.slo.bounds == {"p95": 0.2}
    assert load.slo.errors == pytest.approx(0.001)
    assert (load.search.step, load.search.precision) == (2.0, 0.05)
    dumped = json.loads(matrix.model_dump_json())
    assert dumped["load"]["slo"]["errors"] == "0.1%"
    assert MatrixFile.model_validate(dumped, strict=True) == matrix


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "rate: search",
            "rate: serch",
            "found 'serch', allowed: requests a second, more than 0 and at most 100,000, or",
        ),
        ("rate: search", "rate: 0", "found 0, allowed: requests a second, more than 0"),
        ("rate: search", "rate: true", "found True, allowed: requests a second"),
        ("rate: search", "rate: 100", "`rate: search` and `slo:` (what the rate is to keep) go together"),
        (", slo: {p95: 200ms, errors: 0.1%}", "", "`rate: search` and `slo:` (what the rate is to keep) go together"),
        ("model: open, ", "", "`model: open` and `rate:` (requests a second, or search) go together"),
        ("0.1%", "0.1", "found 0.1, allowed: a percentage such as '0.1%'"),
        ("200ms", "200", "a duration needs a unit"),
        ("p95: 200ms, ", "", "a service level bounds one or more of p50, p90, p95 and p99"),
        ("p95: 200ms", "p96: 200ms", "no such setting; allowed: p50, p90, p95, p99, errors"),
        ("users: 16", "users: 1, workers: 2", "2 workers for 1 users: each worker needs one or more"),
        (
            "users: 16",
            "users: 16, hosts: [a, b], reach: 10.0.0.1",
            "1 workers for 2 hosts: each host needs one or more",
        ),
        ("users: 16", "users: 16, hosts: [a]", "`hosts:` and `reach:` (the address of this machine at which they find"),
        ("users: 16", "users: 16, reach: 10.0.0.1", "`hosts:` and `reach:` (the address of this machine at which"),
        ("users: 16", "users: 16, hosts: [a], reach: 0.0.0.0", "found '0.0.0.0', allowed: one IPv4 address of this"),
        ("users: 16", "users: 16, hosts: [ftp://a], reach: 10.0.0.1", "found 'ftp://a', allowed: a name, for a host"),
        ("users: 16", "users: 16, workers: 2, hosts: [a, ssh://b@a/c], reach: 10.0.0.1", "hosts: a is there twice"),
    ],
)
def test_a_load_that_cannot_be_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert words in "\n".join(refusal(tmp_path, GOOD.replace(CLOSED, SEARCH.replace(old, new))))
