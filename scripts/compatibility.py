"""Tries every pool with every driver and Django on real databases: runner/stacks/pools/compatibility.json.

    .venv/bin/python scripts/compatibility.py

Each pair has an environment of its own in a temporary folder, with the versions that requirements/ has locked. A
second Django needs the Python that it wants (3.12), looked for on the PATH and among pyenv's.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter

from runner.provision.native import NativeProvider
from runner.stacks.app import Process, django_database, load_app, make_overlay
from runner.stacks.connection import ConnectionSpec
from runner.stacks.databases import make_database
from runner.stacks.databases.base import Database, DatabaseSpec
from runner.stacks.databases.mysql import MySQLSpec
from runner.stacks.databases.postgres import PostgresSpec
from runner.stacks.drivers import DRIVERS
from runner.stacks.packages import LOCKS, environment_with
from runner.stacks.pools import POOLS
from runner.stacks.pools.compatibility import MODES, TABLE, Trial

ROOT = Path(__file__).resolve().parents[1]
# Django's series and the Python that it is tried on.
DJANGOS = (("5.2", "3.11"), ("6.1", "3.12"))
TRIAL_LIMIT = 20.0
SLUG = str.maketrans(". ", "__")
SPECS: tuple[DatabaseSpec, ...] = (
    PostgresSpec(),
    PostgresSpec(driver="psycopg2"),
    MySQLSpec(),
    MySQLSpec(driver="pymysql"),
)
# Small ones, so that contexts have to wait for each other.
PARAMETERS: dict[str, dict[str, Any]] = {
    "native": {"min_size": 1, "max_size": 2, "timeout": "5s"},
    "dj_db_conn_pool": {"pool_size": 1, "max_overflow": 1, "timeout": "5s"},
    "postgrespool2": {"pool_size": 1, "max_overflow": 1, "timeout": "5s"},
    "geventpool": {"max_conns": 2},
}


@dataclass(frozen=True)
class Pair:
    """A pool and a driver, on one Django."""

    kind: str
    spec: DatabaseSpec
    django: str
    python: str

    @property
    def connection(self) -> ConnectionSpec:
        return TypeAdapter(ConnectionSpec).validate_python({"pool": {"kind": self.kind, **PARAMETERS[self.kind]}})

    @property
    def packages(self) -> list[str]:
        driver = DRIVERS[self.spec.driver].package
        green = ["psycogreen"] if self.spec.driver == "psycopg2" else []
        binary = ["psycopg-binary"] if driver == "psycopg" else []
        return [f"django=={self.django}.*", driver, "gevent", *self.connection.packages, *green, *binary]


def python_of(version: str) -> str:
    found = shutil.which(f"python{version}")
    known = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    if found is None and not known:
        sys.exit(f"compatibility: Python {version} is missing")
    return str(known[-1]) if known else str(found)


def make_environment(pair: Pair, folder: Path) -> Path:
    """An environment of the locked versions, but for Django's."""
    own = pair.connection.packages
    lock = environment_with(own | pair.spec.packages) or environment_with(own)
    pins = re.findall(r"^[a-z0-9-]+==[^ ;]+", (LOCKS / f"app-{lock}.txt").read_text(), re.MULTILINE)
    constraints = folder / "constraints.txt"
    folder.mkdir()
    constraints.write_text("\n".join(pin for pin in pins if not pin.startswith("django==")))
    uv = str(ROOT / "scripts" / "uv")
    python = folder / "env" / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", python_of(pair.python), str(folder / "env")], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", str(python), "--constraints", str(constraints)]
    subprocess.run([*install, *pair.packages], check=True)
    return python


def versions(python: Path, pair: Pair) -> dict[str, str]:
    listed = subprocess.run(
        [str(ROOT / "scripts" / "uv"), "pip", "list", "--quiet", "--format", "json", "--python", str(python)],
        capture_output=True,
        check=True,
        text=True,
    )
    wanted = {"django", "sqlalchemy", DRIVERS[pair.spec.driver].package, *pair.connection.packages}
    return {row["name"]: row["version"] for row in json.loads(listed.stdout) if row["name"] in wanted}


def try_once(python: Path, pair: Pair, database: Database, mode: str) -> str:
    """What went wrong first; empty if nothing did."""
    account = database.create_empty(f"{pair.kind}_{pair.spec.driver}_{pair.django}_{mode}".translate(SLUG))
    settings = django_database(pair.spec, pair.connection, account, database.service.address)
    process = Process.of(pair.spec, pair.connection)
    overlay = make_overlay(load_app("shop"), settings, "127.0.0.1", process=process)
    command = [str(python), str(ROOT / "scripts" / "try_pool.py"), mode]
    try:
        done = subprocess.run(
            command, env=dict(overlay.env), capture_output=True, text=True, timeout=TRIAL_LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return f"hangs: {TRIAL_LIMIT:.0f} s were not enough"
    last = done.stdout.strip().splitlines()[-1:] or ["{}"]
    error = str(json.loads(last[0]).get("error", done.stderr[-200:]))
    return error.strip().splitlines()[0] if error else ""


def main() -> None:
    found: list[Trial] = []
    with tempfile.TemporaryDirectory(prefix="compatibility-") as temporary, closing(NativeProvider()) as provider:
        folder = Path(temporary)
        databases = {}
        for engine, spec in (("postgres", SPECS[0]), ("mysql", SPECS[2])):
            databases[engine] = make_database(spec)
            databases[engine].start(provider, engine, folder)
        kinds = [get_args(pool.model_fields["kind"].annotation)[0] for pool in POOLS]
        pairs = [Pair(kind, spec, *django) for kind, spec, django in itertools.product(kinds, SPECS, DJANGOS)]
        with ThreadPoolExecutor(2) as builders:
            pythons = list(builders.map(make_environment, pairs, (folder / str(n) for n in range(len(pairs)))))
        for pair, python in zip(pairs, pythons, strict=True):
            have = versions(python, pair)
            for mode in MODES:
                error = try_once(python, pair, databases[pair.spec.engine], mode)
                found.append(Trial(pair.kind, pair.spec.driver, pair.django, mode, have, error))
                print(f"{found[-1].words}: {error or 'works'}", flush=True)
        for database in databases.values():
            database.close()
    rows = ",\n".join(json.dumps(vars(trial)) for trial in found)
    TABLE.write_text(f"[\n{rows}\n]\n")


if __name__ == "__main__":
    os.environ.setdefault("UV_NO_PROGRESS", "1")
    main()
