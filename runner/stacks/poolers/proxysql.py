"""ProxySQL: known by name, so that a matrix can ask for it and is told why there are no figures."""

import os
import shutil
from typing import Literal

from runner.stacks.databases.base import DatabaseSpec
from runner.stacks.poolers.base import PoolerSpec


class ProxySQLSpec(PoolerSpec):
    """Its cells are always skipped: Debian has no package of it, and connbench does not drive it."""

    kind: Literal["proxysql"]

    @property
    def client_limit(self) -> int:
        raise NotImplementedError("no cell with ProxySQL runs")

    @property
    def server_limit(self) -> int:
        raise NotImplementedError("no cell with ProxySQL runs")

    @property
    def title(self) -> str:
        return "ProxySQL"

    def why_not(self, database: DatabaseSpec) -> str | None:
        if database.family != "mysql":
            return "ProxySQL stands before MySQL and MariaDB: for PostgreSQL there is PgBouncer"
        found = find_program()
        if found is None:
            return "not installed: no program proxysql was found, and Debian has no package of it"
        return f"connbench does not drive ProxySQL ({found}) yet"


def find_program() -> str | None:
    """ProxySQL's program, if this machine has it."""
    return shutil.which("proxysql", path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin")
