"""What a SPEC says, and the one cell of a matrix that it comes to."""

import pytest

from runner.errors import UsageError
from runner.matrix.variants import Variant, cell_of, parse_variant
from tests.matrix.examples import make_matrix

MATRIX = make_matrix(
    {
        "database": ["pg", "my"],
        "server": ["sync", "uwsgi"],
        "connection": ["forever", "pooled"],
        "servers.uwsgi.threads": [8, 4],
    },
    exclude=[{"server": "uwsgi"}],
)


def test_what_it_says() -> None:
    found = parse_variant(
        "server=uwsgi, connection.conn_max_age=60,load.window=2s,connection.pool={kind: native, max_size: 4},"
        "django=5.2,psycopg_pool=3.2.6,app=apps/shop,revision=HEAD~1",
        "--base",
    )
    assert found == Variant(
        names={"server": "uwsgi"},
        parameters={
            "connection.conn_max_age": 60,
            "load.window": "2s",
            "connection.pool": {"kind": "native", "max_size": 4},
        },
        versions={"django": "5.2", "psycopg-pool": "3.2.6"},
        app="apps/shop",
        revision="HEAD~1",
    )
    assert parse_variant("", "--base") == Variant()


@pytest.mark.parametrize(("text", "app", "revision"), [("app@HEAD~1", None, "HEAD~1"), ("shop@v1.0", "shop", "v1.0")])
def test_an_app_at_a_revision(text: str, app: str | None, revision: str) -> None:
    assert parse_variant(text, "--base") == Variant(app=app, revision=revision)


def test_the_last_word_is_the_sides_own() -> None:
    both = parse_variant("server=uwsgi,load.users=8,django=5.1,app=shop", "--both")
    side = parse_variant("load.users=4,revision=abc", "--base")
    assert side.over(both) == Variant({"server": "uwsgi"}, {"load.users": 4}, {"django": "5.1"}, "shop", "abc")


def test_what_is_left_open_is_the_first_of_the_matrix() -> None:
    cell = cell_of(MATRIX, Variant(), "base", "--base")
    assert (cell.id, cell.database_name, cell.server_name, cell.connection_name) == ("base", "pg", "sync", "forever")
    assert cell.reference is None
    cell = cell_of(MATRIX, parse_variant("server=uwsgi", "--base"), "base", "--base")
    assert cell.axes["servers.uwsgi.threads"] == 8, "though the matrix leaves the server out"


def test_parameters_of_whatever_definition_it_is() -> None:
    text = "server=uwsgi,server.threads=2,connections.forever.conn_max_age=60,load.users=3,django=5.1"
    cell = cell_of(MATRIX, parse_variant(text, "--base"), "base", "--base")
    assert cell.axes["servers.uwsgi.threads"] == 2
    assert (cell.connection.conn_max_age, cell.load.users) == (60, 3)
    assert cell.environment.name == "psycopg3+django-5.1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("uwsgi", "found 'uwsgi', allowed: key=value"),
        ("server=", "found 'server=', allowed: key=value"),
        ("dajngo=5", "did you mean 'django'?"),
        ("django=new", "found 'new', allowed: a version"),
        ("sevrer.threads=2", "did you mean 'server'?"),
        ("connection.pool={kind", "no value as in a matrix file"),
    ],
)
def test_what_is_no_spec_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=r"^--candidate: ") as refusal:
        parse_variant(text, "--candidate")
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("server=uswgi", "server: found 'uswgi', allowed: sync, uwsgi, gevent; did you mean 'uwsgi'?"),
        ("server.thraeds=2", "no such parameter: found 'thraeds'"),
        ("servers.uwsgi.threads=2", "servers.uwsgi.threads is no parameter of pg, sync, forever"),
        ("load.users=0", "cannot run: found 0, allowed: 1 or more"),
        ("database=my,connection=pooled", "cannot run: Django's native pool"),
        ("psycopg2-binary=2.9.10", "the app environment psycopg3 has no psycopg2-binary"),
    ],
)
def test_what_the_matrix_cannot_be_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=r"^--candidate: ") as refusal:
        cell_of(MATRIX, parse_variant(text, "--candidate"), "candidate", "--candidate")
    assert words in str(refusal.value)
