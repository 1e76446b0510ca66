"""gunicorn's configuration for psycopg2 under gevent: its waits must give way to other greenlets."""

from typing import Any

from psycogreen.gevent import patch_psycopg


def post_fork(_server: Any, _worker: Any) -> None:
    """gunicorn's own hook; after the fork, since each worker has its own gevent loop."""
    patch_psycopg()
