"""What becomes of an app's own `DATABASES` under test.

Runs inside the app's environment, and in the runner's tests. `default` is the cell's database; every other one
would be a server that the harness did not start, so that it is taken for `default` where that is plain, and refused
with the reason where somebody has to decide.
"""

from collections.abc import Mapping
from typing import Any

try:
    from django.core.exceptions import ImproperlyConfigured as Refused
except ModuleNotFoundError:

    class Refused(Exception):  # type: ignore[no-redef]
        """The runner has no Django."""


#: Django's own, and those that differ from them in what they count or how they pool: the cell's engine stands in.
REPLACEABLE = frozenset(
    {
        "django.db.backends.postgresql",
        "django.db.backends.postgresql_psycopg2",
        "django.db.backends.mysql",
        "django.db.backends.sqlite3",
        "django.db.backends.oracle",
        "django.db.backends.dummy",
        "dj_db_conn_pool.backends.postgresql",
        "dj_db_conn_pool.backends.mysql",
        "django_db_geventpool.backends.postgresql_psycopg2",
        "django_db_geventpool.backends.postgresql_psycopg3",
        "django_postgrespool2",
        "django_prometheus.db.backends.postgresql",
        "django_prometheus.db.backends.mysql",
        "django_prometheus.db.backends.sqlite3",
        # A template that was never filled in.
        "django.db.backends.",
        "",
    }
)
SQLITE = frozenset({"django.db.backends.sqlite3", "django_prometheus.db.backends.sqlite3"})
#: In the NAME of one that is in no file.
IN_MEMORY = (":memory:", "mode=memory")
#: What says how an app's code works, and not how it holds connections: the cell's own word is the last.
KEPT = ("ATOMIC_REQUESTS", "TIME_ZONE")


def under_test(
    own: Mapping[str, Mapping[str, Any]], cell: Mapping[str, Any], aliases: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """The `DATABASES` to run with: `own` are the app's, `cell` is the one that is measured.

    `aliases` says of the app's other databases what they are: `default`, `none` or `keep`. Refused where the app
    needs another engine than a cell can have, or where nobody has said what a database is.
    """
    default = own.get("default", {})
    refuse_engine(default)
    if unknown := sorted(set(aliases) - set(own)):
        raise Refused(f"app.yaml names the database {unknown[0]!r}, which DATABASES does not have")
    databases = {"default": {**_kept(default), **cell}}
    for alias, database in own.items():
        role = "default" if alias == "default" else aliases.get(alias) or role_of(alias, database, default)
        if alias == "default" or role == "none":
            continue
        if role == "keep" and not _is_file(database):
            raise Refused(f"app.yaml keeps the database {alias!r}, which is on a server: only a file can be kept")
        databases[alias] = dict(database) if role == "keep" else {**_kept(database), **cell}
    return databases


def _kept(database: Mapping[str, Any]) -> dict[str, Any]:
    return {name: database[name] for name in KEPT if name in database}


def refuse_engine(database: Mapping[str, Any]) -> None:
    """Refused, with the reason, where no cell's engine can take the place of the app's."""
    engine = str(database.get("ENGINE", ""))
    if "gis" in engine or "spatialite" in engine:
        raise Refused(
            f"DATABASES['default'] has GeoDjango's engine {engine}: connbench starts servers without PostGIS, "
            "so that geometry columns could not be made"
        )
    if engine not in REPLACEABLE:
        raise Refused(
            f"DATABASES['default'] has the engine {engine}, which does more than Django's own: "
            "put in the place of it, those of connbench's cells would change what the app does"
        )


def role_of(alias: str, database: Mapping[str, Any], default: Mapping[str, Any]) -> str:
    """`default` for a replica or another way to the same database, `keep` for one that is nowhere but in memory."""
    mirrored = (database.get("TEST") or {}).get("MIRROR") == "default"
    # A replica has the name of what it follows; two databases on one server differ in theirs.
    if mirrored or (database.get("NAME") and database.get("NAME") == default.get("NAME")):
        return "default"
    where, more = "on a server that connbench did not start", ""
    if _is_file(database):
        if any(mark in str(database.get("NAME")) for mark in IN_MEMORY):
            return "keep"
        where, more = "in a file that the app may write to", f", `{alias}: keep` (the file as it is)"
    raise Refused(
        f"DATABASES has {alias!r} beside 'default', {where}; say in app.yaml under `databases:` what it is: "
        f"`{alias}: default` (the same database, as a replica is){more} or `{alias}: none`"
    )


def _is_file(database: Mapping[str, Any]) -> bool:
    return database.get("ENGINE", "") in SQLITE
