"""What a run needs before its first group: a database server with the app's own schema and data in it."""

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from runner import waiting
from runner.provision.native import Command, NativeProvider, run_command
from runner.sampling.database import DatabaseSampler
from runner.stacks.app import App, Process, django_database, make_overlay
from runner.stacks.connection import ConnectionSpec
from runner.stacks.databases import AnyDatabaseSpec, make_database
from runner.stacks.databases.base import Database
from runner.stacks.environment import AppEnvironment

TEMPLATE = "template_app"


@dataclass(frozen=True)
class Prepared:
    """A database server with the app's template in it, and the sampler that watches it."""

    name: str
    database: Database
    sampler: DatabaseSampler
    #: Rows of the audited tables in the template.
    template_rows: Mapping[str, int]
    #: What the server takes with no stack on it.
    memory_bytes: int
    #: The harness's own database connection serves one thread at a time.
    lock: threading.Lock


def prepare_database(
    name: str,
    spec: AnyDatabaseSpec,
    app: App,
    environment: AppEnvironment,
    provider: NativeProvider,
    logs: Path,
    samples_per_second: float,
    closing: ExitStack,
) -> Prepared:
    """Starts a server and makes the template; what it opened is closed by `closing`, the server by its provider."""
    database = make_database(spec)
    database.start(provider, name, logs)
    closing.callback(database.close)
    rows = _make_template(database, app, environment)
    sampler = DatabaseSampler(database, provider, samples_per_second, logs / f"{name}-samples.raw")
    closing.callback(sampler.stop)
    return Prepared(name, database, sampler, rows, database.service.usage().memory_bytes, threading.Lock())


def _make_template(database: Database, app: App, environment: AppEnvironment) -> dict[str, int]:
    """Runs the app's own set-up commands once; returns the rows of the audited tables."""
    account = database.create_empty(TEMPLATE)
    settings = django_database(database.spec, ConnectionSpec(), account, database.service.address)
    process = Process.of(database.spec, ConnectionSpec())
    overlay = make_overlay(app, settings, database.service.address.host, process=process)
    python = environment.bin / "python"
    for arguments in app.description.setup:
        command = Command([str(python), "manage.py", *arguments], overlay.env, app.folder)
        what = f"manage.py {' '.join(arguments)} on {database.product}"
        run_command(command, limit=waiting.TEMPLATE_COMMAND, what=what)
    rows = {audit.table: database.count_rows(account, audit.table) for audit in app.description.audits}
    database.freeze(account)
    return rows
