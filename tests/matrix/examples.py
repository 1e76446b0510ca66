"""Matrices and cells for the tests of this folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from runner.matrix.cells import Cell
from runner.matrix.spec import LoadSpec, MatrixFile
from runner.stacks.connection import ConnectionSpec
from runner.stacks.databases import AnyDatabaseSpec
from runner.stacks.poolers import AnyPoolerSpec
from runner.stacks.servers import AnyServerSpec

ROOT = Path(__file__).resolve().parents[2]

SYNC = {"kind": "gunicorn", "worker_class": "sync", "workers": 4}
GTHREAD = {"kind": "gunicorn", "worker_class": "gthread", "workers": 4, "threads": 4}
GEVENT = {"kind": "gunicorn", "worker_class": "gevent", "workers": 2, "worker_connections": 100}
UWSGI = {"kind": "uwsgi", "processes": 4, "threads": 4}

EVENTLET = {"kind": "gunicorn", "worker_class": "eventlet", "workers": 2}
UVICORN = {"kind": "uvicorn", "workers": 2}
RUNSERVER = {"kind": "runserver"}
UWSGI_GEVENT = {"kind": "uwsgi", "processes": 2, "gevent": 20}

POSTGRES = {"engine": "postgres"}
PSYCOPG2 = {"engine": "postgres", "driver": "psycopg2"}
MYSQL = {"engine": "mysql"}


def pool(**settings: Any) -> dict[str, Any]:
    return {"pool": {"kind": "native", **settings}}


def age(seconds: int | None) -> dict[str, Any]:
    return {"conn_max_age": seconds}


def bouncer(mode: str = "transaction", **settings: Any) -> dict[str, Any]:
    return {"kind": "pgbouncer", "pool_mode": mode, **settings}


def make_cell(
    database: Mapping[str, Any],
    server: Mapping[str, Any],
    connection: Mapping[str, Any],
    pooler: Mapping[str, Any] | None = None,
    **load: Any,
) -> Cell:
    return Cell(
        id="cell",
        axes={},
        app="shop",
        database_name="database",
        server_name="server",
        connection_name="connection",
        database=TypeAdapter(AnyDatabaseSpec).validate_python(database),
        server=TypeAdapter(AnyServerSpec).validate_python(server),
        connection=ConnectionSpec.model_validate(connection),
        load=LoadSpec.model_validate({"users": 16, "count": "4s", **load}),
        reference=None,
        pooler=None if pooler is None else TypeAdapter(AnyPoolerSpec).validate_python(pooler),
    )


def make_matrix(matrix: Mapping[str, Any], **rest: Any) -> MatrixFile:
    """A matrix over two databases, three servers and three connection settings, of which `matrix` picks."""
    content = {
        "name": "example",
        "databases": {"pg": POSTGRES, "my": MYSQL},
        "servers": {"sync": SYNC, "uwsgi": UWSGI, "gevent": GEVENT},
        "connections": {"per-request": age(0), "forever": age(None), "pooled": pool(min_size=2, max_size=4)},
        "matrix": matrix,
        **rest,
    }
    return MatrixFile.model_validate(content, strict=True)
