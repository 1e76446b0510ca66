"""An app that queries its database while Django starts, as one that fills a cache at import does.

Where the server loads the app before it forks its workers, they share what this has opened: a connection, or a pool
with all of its connections, whose own threads stay behind in the parent.
"""

from django.apps import AppConfig
from django.db import connection


class QueryAtImport(AppConfig):  # type: ignore[misc]  # Django is in the app's environment alone
    name = "connbench_query_at_import"

    def ready(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchall()
