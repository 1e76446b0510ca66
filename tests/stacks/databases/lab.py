"""Somebody's PostgreSQL server, and an account on it as a cloud gives one: no superuser."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runner.provision.native import NativeProvider
from runner.stacks.databases.base import HARNESS_SESSIONS
from runner.stacks.databases.postgres import Postgres, PostgresSpec
from runner.stacks.databases.postgres_monitor import WayIn, connect

VARIABLE = "PROD_LIKE_URL"
#: What has to be told apart in a URL, in SQL, in JSON and in a pooler's file.
PASSWORD = 'l\'et "me" in%é\\'


@dataclass(frozen=True)
class Lab:
    """The server as its owner sees it."""

    server: Postgres

    def do(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """As its superuser."""
        way_in = self.server._way_in
        with connect(self.server.service.address, WayIn(way_in.user, way_in.password, database)) as session:
            cursor = session.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def url(self, database: str = "lab", user: str = "guest", more: str = "") -> str:
        return f"postgresql://{user}:{quote(PASSWORD)}@{self.server.service.address}/{database}{more}"

    def add_account(self, user: str, rights: str) -> None:
        password = PASSWORD.replace("'", "''")
        self.do(f"CREATE ROLE {user} LOGIN {rights} PASSWORD '{password}'")

    @property
    def made(self) -> list[str]:
        """What there is of a run's: databases, roles, and the table of names in the database of the URL."""
        made = self.do("SELECT datname FROM pg_database WHERE datname LIKE 'connbench%'")
        made += self.do("SELECT rolname FROM pg_roles WHERE rolname LIKE 'connbench\\_%'")
        made += self.do("SELECT nspname FROM pg_namespace WHERE nspname = 'connbench'", "lab")
        return [str(row[0]) for row in made]


@contextmanager
def somebodys_server(folder: Path, max_connections: int, *, tls: bool) -> Iterator[Lab]:
    """With `guest`, who may make databases and roles, and owns the empty database `lab`."""
    spec = PostgresSpec(max_connections=max_connections - HARNESS_SESSIONS, tls=tls)
    with closing(NativeProvider()) as provider, closing(Postgres(spec)) as server:
        server.start(provider, "lab", folder)
        lab = Lab(server)
        lab.add_account("guest", "CREATEDB CREATEROLE")
        lab.do("CREATE DATABASE lab OWNER guest")
        yield lab
