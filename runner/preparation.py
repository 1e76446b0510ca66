"""What a run needs before its first group: a database server with the app's own schema and data in it."""

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner import waiting
from runner.asking import asking
from runner.errors import StackError
from runner.provision.service import Address, Command, Provider
from runner.sampling.database import DatabaseSampler
from runner.stacks.app import App, Process, code_of, django_database, make_overlay
from runner.stacks.connection import ConnectionSpec
from runner.stacks.databases import AnyDatabaseSpec, make_database
from runner.stacks.databases.base import Account, Database
from runner.stacks.environment import AppEnvironment
from runner.stacks.network.distance import Distance, set_apart


@dataclass(frozen=True)
class Template:
    """The app's schema and data as one set of versions makes them; `rows` of the audited tables."""

    account: Account
    rows: Mapping[str, int]


@dataclass(frozen=True)
class Prepared:
    """A database server with the app's templates in it, and the sampler that watches it."""

    name: str
    database: Database
    #: Where apps and poolers connect to: the server itself, or the relay that puts it further away.
    address: Address
    distance: Distance | None
    sampler: DatabaseSampler
    #: By what their migrations were run with: `Recipe.versions`.
    templates: Mapping[tuple[tuple[str, str], ...], Template]
    #: What the server takes with no stack on it.
    memory_bytes: int
    #: The harness's own database connection serves one thread at a time.
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def alone(self) -> Iterator[Database]:
        """The database, for this thread alone: what is done to it may take as long as it takes."""
        with self.lock:
            yield self.database

    @contextmanager
    def asking(self, what: str) -> Iterator[Database]:
        """The database, for this thread alone; see `runner.asking`."""
        with self.alone() as database, asking(database, what):
            yield database

    @property
    def lost(self) -> bool:
        """Whether the server is of no more use."""
        if not self.database.service.alive():
            return True
        try:
            with self.asking("whether it is still there"):
                self.database.ping()
        except StackError:
            return True
        return False


def prepare_database(
    name: str,
    spec: AnyDatabaseSpec,
    app: App,
    environments: Sequence[AppEnvironment],
    provider: Provider,
    logs: Path,
    samples_per_second: float,
    closing: ExitStack,
) -> Prepared:
    """Starts a server and makes a template with each set of versions among `environments`.

    What it opened is closed by `closing`, the server by its provider.
    """
    database = make_database(spec)
    database.start(provider.at("database"), name, logs)
    closing.callback(database.close)
    distance = set_apart(database, provider, name, logs) if spec.round_trip else None
    address = database.service.address if distance is None else distance.relay.address
    makers = {environment.recipe.versions: environment for environment in environments}
    templates = {
        versions: make_template(f"template_app_{number}", database, app, makers[versions], provider)
        for number, versions in enumerate(sorted(makers), start=1)
    }
    sampler = DatabaseSampler(database, provider, samples_per_second, logs / f"{name}-samples.raw")
    closing.callback(sampler.stop)
    memory = database.service.usage().memory_bytes
    return Prepared(name, database, address, distance, sampler, templates, memory)


def with_sampler(
    prepared: Prepared, provider: Provider, logs: Path, samples_per_second: float, closing: ExitStack
) -> Prepared:
    """The same database under a new sampler, where the old one has ended by itself; otherwise as it is."""
    if prepared.sampler.alive:
        return prepared
    prepared.sampler.stop()
    number = next(n for n in itertools.count(2) if not (logs / f"{prepared.name}-samples-{n}.raw").exists())
    path = logs / f"{prepared.name}-samples-{number}.raw"
    sampler = DatabaseSampler(prepared.database, provider, samples_per_second, path)
    closing.callback(sampler.stop)
    return replace(prepared, sampler=sampler)


def make_template(name: str, database: Database, app: App, environment: AppEnvironment, provider: Provider) -> Template:
    """Runs the app's own set-up commands once."""
    with asking(database, "a database for the template"):
        account = database.create_empty(name)
    # Set-up works for seconds between two statements: no time-out of the cell's may strike there.
    connection = ConnectionSpec(options=dict(database.spec.patient_options))
    settings = django_database(database.spec, connection, account, database.service.address.inside)
    process = Process.of(database.spec, connection)
    overlay = make_overlay(app, settings, database.service.address.host, process=process)
    python = environment.bin / "python"
    for arguments in app.description.setup:
        argv = [str(python), "manage.py", *arguments]
        command = Command(argv, overlay.env, app.folder, kit=environment.kit, reads=code_of(app))
        what = f"manage.py {' '.join(arguments)} on {database.product}"
        provider.run(command, limit=waiting.TEMPLATE_COMMAND, what=what)
    with asking(database, "the template's rows"):
        rows = {audit.table: database.count_rows(account, audit.table) for audit in app.description.audits}
    with asking(database, "to keep the template"):
        database.freeze(account)
    return Template(account, rows)
