"""A deployment's `.env` file: what is made of it, what is not, and what is refused."""

from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.matrix.cells import Cell
from runner.matrix.deployment import Deployment, read_deployment, refuse_if_impossible
from runner.matrix.expansion import expand
from runner.matrix.prediction import predict
from runner.stacks.pools.native import NativePoolSpec

POOLED = """
DB_ENGINE=django.db.backends.postgresql
DB_CONN_MAX_AGE=0
DB_POOL_ENABLED=true
DB_POOL_MIN_SIZE=2
DB_POOL_MAX_SIZE=8
DB_POOL_TIMEOUT=2.5
DB_POOL_MAX_LIFETIME=600
UWSGI_PROCESSES=4
UWSGI_THREADS=5
"""
SYNC = "DATABASE_URL=mysql://shop:secret@db/shop\nWEB_CONCURRENCY=3\n"


def read(folder: Path, text: str) -> Deployment:
    path = folder / "deploy.env"
    path.write_text(text)
    return read_deployment(path)


def cell(folder: Path, text: str) -> Cell:
    deployment = read(folder, text)
    expansion = expand(deployment.matrix)
    refuse_if_impossible(expansion)
    (only,) = expansion.cells
    return only


def problems(folder: Path, text: str) -> list[str]:
    """Each line of the refusal, without the file's name."""
    with pytest.raises(UsageError) as caught:
        cell(folder, text)
    return str(caught.value).replace(f"{folder / 'deploy.env'}:", "").splitlines()


def test_the_pool_under_uwsgi(tmp_path: Path) -> None:
    """As measured by hand: min/max 2/8 under 4 × 5 is 20."""
    found = cell(tmp_path, POOLED)
    assert found.id == "postgres-uwsgi-deployment"
    pool = found.connection.pool
    assert isinstance(pool, NativePoolSpec)
    assert (pool.min_size, pool.max_size, pool.timeout, pool.max_lifetime) == (2, 8, 2.5, 600)
    assert (predict(found).min, predict(found).max) == (8, 20)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("DB_CONN_MAX_AGE=60", 3),
        ("DB_CONN_MAX_AGE=None\nGUNICORN_CMD_ARGS='--workers 2 --threads=4'", 8),
        ("GUNICORN_CMD_ARGS=-k gevent -w 2 --worker-connections 10", 20),
        ("GUNICORN_CMD_ARGS='-k gevent -w 2'\nDB_CONN_MAX_AGE=60\nDB_MAX_CONNECTIONS=500", None),
    ],
)
def test_gunicorn(tmp_path: Path, text: str, most: int | None) -> None:
    """Threads make its sync worker a gthread one; the command line says more than WEB_CONCURRENCY."""
    assert predict(cell(tmp_path, SYNC + text)).max == most


@pytest.mark.parametrize("more", ["", "DB_ENGINE=django.db.backends.mysql"])
def test_mariadb_is_itself_whatever_djangos_backend_is_called(tmp_path: Path, more: str) -> None:
    found = cell(tmp_path, SYNC.replace("mysql:", "mariadb:") + more)
    assert found.database.engine == "mariadb"
    assert found.database.max_connections == 151


@pytest.mark.parametrize(
    ("scheme", "engine"),
    [
        ("psql", "postgres"),
        ("pgsql", "postgres"),
        ("postgis", "postgres"),
        ("PostgreSQL+psycopg", "postgres"),
        ("mysql2", "mysql"),
    ],
)
def test_every_name_that_a_url_has_for_a_database(tmp_path: Path, scheme: str, engine: str) -> None:
    assert cell(tmp_path, SYNC.replace("mysql", scheme)).database.engine == engine


def test_a_password_as_no_url_has_it_is_in_nobodys_way(tmp_path: Path) -> None:
    found = cell(tmp_path, SYNC.replace("mysql://shop:secret@", "postgres://shop:p[w#@"))
    assert found.database.engine == "postgres"
    (refused,) = problems(tmp_path, SYNC.replace("mysql://shop:secret@db", "secret"))
    assert "found ''" in refused
    assert "secret" not in refused


def test_the_databases_own_limit_is_assumed(tmp_path: Path) -> None:
    text = POOLED.replace("DB_POOL_ENABLED=true", "DB_POOL_ENABLED=off").replace("THREADS=5", "THREADS=40")
    predicted = predict(cell(tmp_path, text))
    assert predicted.refusals
    assert "the database lets in 97 and refuses the rest" in predicted.formula
    assumed = read(tmp_path, text).assumed
    assert any("max_connections, 100" in line for line in assumed)
    assert "no pool, since DB_POOL_ENABLED does not turn it on" in assumed


def test_what_is_not_understood_is_named_without_its_value(tmp_path: Path) -> None:
    text = (
        f"# ours\nexport SENTRY_DSN='https://secret'\n\n{SYNC}DB_PASSWORD=secret\nGUNICORN_CMD_ARGS='--preload -w 2'\n"
    )
    deployment = read(tmp_path, text)
    path = tmp_path / "deploy.env"
    assert deployment.not_understood == (f"{path}:2: SENTRY_DSN", f"{path}:7: GUNICORN_CMD_ARGS: --preload")
    assert "secret" not in str(deployment)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (POOLED.replace("=2\n", "=many\n"), ["5: DB_POOL_MIN_SIZE: found 'many', allowed: a whole number"]),
        (POOLED.replace("=2.5", "=0"), ["7: DB_POOL_TIMEOUT: found '0', allowed: a number of seconds above 0"]),
        (POOLED.replace("=true", "=maybe"), ["4: DB_POOL_ENABLED: found 'maybe', allowed: true or false (1 or 0, "]),
        (POOLED.replace("=5", "=0"), ["10: UWSGI_THREADS: found 0, allowed: 1 or more"]),
        (POOLED.replace("=0", "=soon").replace("=4", "=x"), ["3: DB_CONN_MAX_AGE: found 'soon'", "9: UWSGI_PROCESSES"]),
        (
            POOLED.replace("DB_CONN_MAX_AGE=0", "DB_CONN_MAX_AGE=60"),
            ["this deployment cannot work: a pool needs conn_"],
        ),
        (
            POOLED.replace("postgresql", "oracle"),
            ["2: DB_ENGINE: found 'oracle', allowed: postgresql, postgres, mysql"],
        ),
        (SYNC.replace("mysql:", "redis:"), ["1: DATABASE_URL: found 'redis', allowed: postgresql"]),
        (SYNC + "DB_ENGINE=postgresql", ["3: DB_ENGINE says otherwise than DATABASE_URL in line 1"]),
        (SYNC + "UWSGI_THREADS=2", ["2: WEB_CONCURRENCY is gunicorn's, and UWSGI_THREADS in line 3 is uWSGI's"]),
        (SYNC + "GUNICORN_CMD_ARGS=--workers=few", ["3: GUNICORN_CMD_ARGS: argument -w/--workers: invalid int"]),
        (SYNC + "GUNICORN_CMD_ARGS=-k tornado", ["3: GUNICORN_CMD_ARGS: found 'tornado', allowed: sync, "]),
        (SYNC + "no value\n", ["3: found a line that is no NAME=value"]),
        ("DB_ENGINE=mysql", ["1: no server: "]),
        ("WEB_CONCURRENCY=2", ["1: neither DATABASE_URL nor DB_ENGINE is there"]),
    ],
)
def test_refusals_say_where_and_what(tmp_path: Path, text: str, expected: list[str]) -> None:
    found = problems(tmp_path, text)
    assert len(found) == len(expected), found
    for line, beginning in zip(found, expected, strict=True):
        assert line.startswith(beginning)
    assert "secret" not in "".join(found)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_deployment(tmp_path / "missing.env")
