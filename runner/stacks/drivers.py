"""The database drivers that connbench knows: one row a driver."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Driver:
    """`package` is its name in the package index.

    `yields` says that a wait for the database lets other greenlets of the process go on, once the standard
    library is patched; the others wait in C code, so that a query holds up all of them. `settings` are lines that a
    settings module has to have with it.
    """

    package: str
    yields: bool
    settings: str = ""


DRIVERS: Mapping[str, Driver] = {
    "psycopg": Driver("psycopg", yields=True),
    # psycogreen makes it yield.
    "psycopg2": Driver(
        "psycopg2-binary", yields=False, settings="# Without the package psycopg: Django would take that instead."
    ),
    "mysqlclient": Driver("mysqlclient", yields=False),
    # Django knows MySQLdb alone.
    "pymysql": Driver("pymysql", yields=True, settings="import pymysql\n\npymysql.install_as_MySQLdb()"),
}
