"""Does this pool work with this driver and this Django? Runs in an environment with them; see compatibility.py.

Requests come as they do under a server: several contexts at once (threads or greenlets), each with Django's signals
around a query and a transaction. The last line of the output is JSON: `{"error": ""}`, or what went wrong first.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

CONTEXTS, ROUNDS = 6, 5


def patch() -> None:
    """Before anything else is imported, as gunicorn's gevent worker does."""
    from gevent import monkey

    monkey.patch_all()
    try:
        from psycogreen.gevent import patch_psycopg
    except ImportError:
        return
    patch_psycopg()


def main(mode: str) -> str:
    if mode == "gevent":
        patch()
    import django
    from django.core.signals import request_finished, request_started
    from django.db import connection, transaction

    def requests(_: int) -> None:
        for _ in range(ROUNDS):
            request_started.send(sender=None, environ={})
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            with connection.cursor() as cursor:
                cursor.execute("SELECT 2")
                if cursor.fetchone() != (2,):
                    raise ValueError("a query has another one's answer")
            request_finished.send(sender=None)

    try:
        django.setup()
        with ThreadPoolExecutor(1 if mode == "one thread" else CONTEXTS) as contexts:
            list(contexts.map(requests, range(CONTEXTS)))
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the finding
        # A backend that cannot be imported is reported with the reason as its cause.
        found = error.__cause__ or error
        return f"{type(found).__name__}: {found}"
    return ""


if __name__ == "__main__":
    print("\n" + json.dumps({"error": main(sys.argv[1])}), flush=True)
    # Threads that hang must not keep the finding back.
    os._exit(0)
