"""A statement that takes as long as it is told to, on each database that the shop runs on."""

import time

from django.db import connection

SLEEP_SQL = {
    "postgresql": "SELECT pg_sleep(%s)",
    "mysql": "SELECT SLEEP(%s)",
    "sqlite": "SELECT shop_sleep(%s)",
}


def hold_connection(seconds: float) -> None:
    """Wait inside the database, not in Python: the connection counts as active there for the whole time."""
    connection.ensure_connection()
    if connection.vendor == "sqlite":
        connection.connection.create_function("shop_sleep", 1, time.sleep)
    with connection.cursor() as cursor:
        cursor.execute(SLEEP_SQL[connection.vendor], [seconds])
        cursor.fetchone()
