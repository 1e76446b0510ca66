"""Clients of a database under test: in this process, and as processes that open and close in a tight loop."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import MySQLdb
import psycopg

from runner.provision.service import Address
from runner.stacks.databases.base import Account, Database

#: Moments on the monotonic clock: asked to connect, connected, asked to close, closed.
Life = tuple[float, float, float, float]


def connect(engine: str, address: Address, account: Account, **options: Any) -> Any:
    """A session with autocommit, by the driver that the apps use; `options` are the driver's."""
    if engine == "postgres":
        return psycopg.connect(
            host=address.host,
            port=address.port,
            dbname=account.database,
            user=account.user,
            password=account.password,
            autocommit=True,
            **options,
        )
    return MySQLdb.connect(
        host=address.host,
        port=address.port,
        user=account.user,
        password=account.password,
        database=account.database,
        autocommit=True,
        **options,
    )


def session(database: Database, account: Account) -> Any:
    return connect(database.spec.engine, database.service.address, account)


def ask(connection: Any, query: str) -> list[tuple[Any, ...]]:
    cursor = connection.cursor()
    cursor.execute(query)
    return list(cursor.fetchall()) if cursor.description else []


@dataclass(frozen=True)
class Churned:
    """What the clients of a churn know themselves."""

    opened: int
    #: Most connections at once, from connected to asked to close, and from asked to connect to closed.
    surely_held: int
    perhaps_held: int


def churn(database: Database, account: Account, *, clients: int, each: int, hold: float = 0.0) -> Churned:
    """Processes that each open, use and close one connection after the other."""
    address = database.service.address
    order = [database.spec.engine, address.host, address.port, account.database, account.user, account.password]
    argv = [sys.executable, str(Path(__file__)), json.dumps([*order, each, hold])]
    processes = [subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=Path.cwd()) for _ in range(clients)]
    outputs = [process.communicate()[0] for process in processes]
    assert all(process.returncode == 0 for process in processes)
    lives: list[Life] = [tuple(life) for output in outputs for life in json.loads(output)]
    return Churned(len(lives), most_at_once(lives, 1, 2), most_at_once(lives, 0, 3))


def most_at_once(lives: Sequence[Life], begin: int, end: int) -> int:
    """The most lives that overlap between two of their moments; an end comes before a beginning at the same time."""
    changes = sorted([(life[begin], 1) for life in lives] + [(life[end], -1) for life in lives])
    levels = [0]
    for _, change in changes:
        levels.append(levels[-1] + change)
    assert all(abs(b - a) == 1 for a, b in pairwise(levels))
    return max(levels)


def main(order: list[Any]) -> None:
    engine, host, port, name, user, password, each, hold = order
    account, lives = Account(name, user, password), []
    for _ in range(each):
        asked = time.monotonic()
        connection = connect(engine, Address(host, port), account)
        connected = time.monotonic()
        ask(connection, "SELECT 1")
        time.sleep(hold)
        leaving = time.monotonic()
        connection.close()
        lives.append((asked, connected, leaving, time.monotonic()))
    sys.stdout.write(json.dumps(lives))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
