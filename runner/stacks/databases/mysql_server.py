"""MySQL and MariaDB as programs: finding them, their settings, their data folder."""

import contextlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from runner import waiting
from runner.errors import EnvironmentUnfit
from runner.provision.service import Command, Kit, Place
from runner.stacks.databases.certificate import Certificate
from runner.stacks.databases.mysql_driver import MySQLdb

ADMIN = "connbench"
INSTALL = "apt-get install mariadb-server"

# The same for each run. Nothing waits for a disk, which the benchmark's machine shares with others; nothing
# runs by itself in the background of a window; plans do not change under way.
_SETTINGS = {
    "skip_networking": "OFF",
    "skip_name_resolve": "ON",
    "skip_log_bin": "",
    "character_set_server": "utf8mb4",
    "innodb_buffer_pool_size": "256M",
    "innodb_flush_log_at_trx_commit": "0",
    "innodb_doublewrite": "OFF",
    "innodb_stats_auto_recalc": "OFF",
    # With all pages read, ANALYZE TABLE gives the same figures for each copy of a table of up to 16 MB.
    "innodb_stats_persistent_sample_pages": "1000",
    "innodb_buffer_pool_dump_at_shutdown": "OFF",
    "innodb_buffer_pool_load_at_startup": "OFF",
    "event_scheduler": "OFF",
    "thread_cache_size": "100",
    # Several attempts' tables are open at once, in all their sessions.
    "table_open_cache": "4000",
    "table_definition_cache": "2000",
    # A burst of new connections must wait for the server, not be dropped by the kernel.
    "back_log": "512",
    "performance_schema": "ON",
    "performance_schema_consumer_events_transactions_current": "ON",
}
_MARIADB_SETTINGS = {
    # performance_schema.accounts loses sessions that end at the same instant (2 in 16,000); this is exact.
    "userstat": "ON",
    "innodb_log_file_size": "96M",
}
_MYSQL_SETTINGS = {
    "secure_file_priv": "",
    "mysqlx": "OFF",
    "innodb_redo_log_capacity": "100M",
    # SHOW PROCESSLIST without the lock that connecting needs too.
    "loose_performance_schema_show_processlist": "ON",
}
# The server's own default, for sessions that no setting of a matrix may end.
PATIENT_SESSION = "SET SESSION wait_timeout = 28800"
# Counting accounts needs no instrument; that of transactions tells who is idle in one. Together they cost
# 1 % of a short transaction in an interleaved trial, MariaDB's default instruments 16 % of a point query.
_INSTRUMENTS = ("%=OFF", "transaction=ON")
# Statements by account have no other source on MySQL.
_MYSQL_INSTRUMENTS = ("statement/%=ON",)


@dataclass(frozen=True)
class Product:
    """An installed server: its program, and what it is with its version."""

    program: str
    name: str
    kit: Kit

    @property
    def mariadb(self) -> bool:
        return self.name.startswith("MariaDB")


def locate(name: str) -> str:
    """One of the family's programs on this machine; Debian has servers where an ordinary user's PATH does not look."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/libexec", "/usr/local/mysql/bin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise EnvironmentUnfit(f"{name} is not installed: {INSTALL}")
    return found


@dataclass(frozen=True)
class Origin:
    """Where a product comes from: its programs, and the one that is the server."""

    title: str
    server: str
    kit: Kit


MYSQL = Origin("MySQL", "mysqld", Kit("mysql", "mysql:8.4.6", locate))
MARIADB = Origin("MariaDB", "mariadbd", Kit("mariadb", "mariadb:11.4.8", locate))


def find_server(place: Place, origins: Sequence[Origin]) -> Product:
    """The first of these that is there; EnvironmentUnfit where none is.

    A program by one's name may be the other's server: MariaDB's comes with a `mysqld` of its own.
    """
    for origin in origins:
        with contextlib.suppress(EnvironmentUnfit):
            program = place.program(origin.kit, origin.server)
            command = Command([program, "--no-defaults", "--version"], kit=origin.kit)
            text = place.run(command, limit=waiting.VERSION_COMMAND, what=f"{origin.server} --version")
            version = re.search(r"Ver (\S+)", text)
            found = Product(program, product_name(version[1] if version else "?", text), origin.kit)
            if found.name.startswith(origin.title):
                return found
    raise EnvironmentUnfit(f"no server of {' or '.join(origin.title for origin in origins)} is installed: {INSTALL}")


def product_name(version: str, comment: str) -> str:
    """ "MariaDB 10.11.19" from "10.11.19-MariaDB-0+deb12u1", "MySQL 8.4.3" from "8.4.3"."""
    family = "MariaDB" if "mariadb" in f"{version} {comment}".lower() else "MySQL"
    return f"{family} {version.split('-', 1)[0]}"


def server_settings(product: Product) -> dict[str, str]:
    """The harness's own settings, by the server's names."""
    return {**_SETTINGS, **(_MARIADB_SETTINGS if product.mariadb else _MYSQL_SETTINGS)}


def tls_settings(certificate: Certificate) -> dict[str, str]:
    """What turns TLS on."""
    return {"ssl_cert": str(certificate.path), "ssl_key": str(certificate.key)}


def no_tls(product: Product) -> dict[str, str]:
    """What turns TLS off: MySQL makes a certificate of its own, MariaDB (before 11.4) has none."""
    return {} if product.mariadb else {"tls_version": ""}


def server_arguments(product: Product, settings: Mapping[str, str]) -> list[str]:
    """Settings and instruments as the program takes them."""
    arguments = [
        f"--{name}={value}" if name != "skip_log_bin" else "--skip-log-bin" for name, value in settings.items()
    ]
    instruments = _INSTRUMENTS if product.mariadb else _INSTRUMENTS + _MYSQL_INSTRUMENTS
    return arguments + [f"--performance-schema-instrument={instrument}" for instrument in instruments]


def initialise(place: Place, product: Product, data: Path, folder: Path) -> None:
    """Makes the data folder, as the user that the server will run as."""
    if product.mariadb:
        program = place.program(product.kit, "mariadb-install-db")
        arguments = [program, "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]
        arguments += [
            "--innodb-log-file-size=96M",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=OFF",
        ]
    else:
        arguments = [product.program, "--no-defaults", "--initialize-insecure", "--secure-file-priv="]
    command = Command([*arguments, f"--datadir={data}"], own_temporary_folder(folder), folder, kit=product.kit)
    place.run(command, limit=waiting.DATABASE_START, what=f"making {product.name}'s data folder", unprivileged=True)


def own_temporary_folder(folder: Path) -> dict[str, str]:
    """The environment in which the server's user has a folder for temporary files: the runner's may be closed to it."""
    return {"TMPDIR": str(folder)}


def first_statements(password: str, host: str) -> str:
    """What the server runs before it listens: at no moment is there an account without a password."""
    return f"""CREATE USER IF NOT EXISTS {ADMIN}@'{host}' IDENTIFIED BY '{password}';
GRANT ALL PRIVILEGES ON *.* TO {ADMIN}@'{host}' WITH GRANT OPTION;
DROP USER IF EXISTS root@localhost, root@'127.0.0.1', root@'::1';
"""


class WayIn(TypedDict, total=False):
    """MySQLdb's arguments: the server's private socket file, or where that is out of reach, its address."""

    unix_socket: str
    host: str
    port: int


def connect(way_in: WayIn, password: str) -> Any:
    """A session of the harness's own."""
    return MySQLdb.connect(
        **way_in,
        user=ADMIN,
        password=password,
        connect_timeout=waiting.DATABASE_CONNECT,
        charset="utf8mb4",
        autocommit=True,
        # A matrix may lower it for the apps; the harness's own sessions rest for as long as an attempt lasts.
        init_command=PATIENT_SESSION,
    )
