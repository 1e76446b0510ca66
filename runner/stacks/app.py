"""The app under test: its description (app.yaml) and what the overlay tells its process."""

import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from runner.errors import UsageError
from runner.models import Strict
from runner.provision.service import Address
from runner.stacks.connection import ConnectionSpec
from runner.stacks.databases import DatabaseSpec
from runner.stacks.databases.base import Account
from runner.stacks.dependencies import AppPackages, read_packages
from runner.stacks.env_file import read_env_file
from runner.stacks.poolers.base import PoolerSpec
from runner.stacks.servers.base import PROBE_QUERY

ROOT = Path(__file__).resolve().parents[2]
OVERLAY = Path(__file__).parent / "overlay"
QUERY_AT_IMPORT = "connbench_query_at_import.QueryAtImport"
MASK = "********"
#: Variables that an app's settings may read, and that steer more than them where they are in the environment: a server
#: (its options go before a cell's, or beside them), or libpq (PGHOSTADDR goes before DATABASES' HOST).
SETTINGS_ALONE = re.compile(r"(GUNICORN|UVICORN|UWSGI|GRANIAN)_\w+|WEB_CONCURRENCY|PG[A-Z_]+")
#: What such a variable is called until the settings are imported.
KEPT_BACK = "CONNBENCH_KEPT_BACK_"

#: As a matrix names the databases.
Engine = Literal["postgres", "mysql"]
#: What an app says with each answer of the time it took: nothing, how long, and on what.
Timing = Literal["off", "app", "full"]


class Check(Strict):
    """One endpoint, the answer that proves it, and whether it touches the database."""

    path: str
    method: str = "GET"
    json_body: Any = Field(default=None, alias="json")
    status: int = 200
    contains: str = ""
    database: bool = True

    @property
    def endpoint(self) -> str:
        """As traffic profiles name it: method and path, the query left out."""
        return f"{self.method} {self.path.partition('?')[0]}"


class Audit(Strict):
    """`table` grows by one row for every successful request of `endpoint`."""

    endpoint: str
    table: str


class AppDescription(Strict):
    """app.yaml. Paths are relative to its own folder."""

    #: The folder that holds manage.py.
    project: str = "."
    #: Folders of the project from which its code is imported beside that one, as in a src layout.
    python_path: Sequence[str] = ()
    settings: str
    #: What servers load, `module:attribute`; one of the two at the least.
    wsgi: str = ""
    asgi: str = ""
    #: Files with environment variables of the app's processes, as `.env`; secrets stay where they are.
    env_files: Sequence[str] = ()
    #: Environment variables of the app's processes, on top of those and of the few that every process has.
    env: Mapping[str, str] = Field(default_factory=dict)
    #: The Python that the app needs, such as "3.12"; the runner's own unless told.
    python: str = Field(default="", pattern=r"^(\d+\.\d+)?$")
    #: Files that name its packages; without any the locked set has all that it needs.
    dependencies: Sequence[str] = ()
    #: What becomes of a database of its settings beside `default`: `default` is the same database on connections
    #: of its own, as a replica is; `none` takes it out; `keep` leaves one in a file as it is, to be read and written.
    databases: Mapping[str, Literal["default", "none", "keep"]] = Field(default_factory=dict)
    #: Apps that it needs on one kind of database alone, put behind its own INSTALLED_APPS: what it is built upon may
    #: insist on django.contrib.postgres there.
    apps: Mapping[Engine, Sequence[str]] = Field(default_factory=dict)
    #: Whether its static files go by their plain names, since nothing has collected those with a hash in theirs.
    plain_static: bool = False
    #: Arguments of manage.py, run once and in this order into a fresh database.
    setup: Sequence[Sequence[str]]
    #: Answers once the process is up; any answer will do where this is empty.
    ready: str
    checks: Sequence[Check]
    audits: Sequence[Audit] = ()
    #: A profile under locustfiles/, or a Locust file by its path: what a matrix is driven with unless it says.
    traffic: str = ""

    @model_validator(mode="after")
    def _can_be_served(self) -> Self:
        if not self.wsgi and not self.asgi:
            raise ValueError("neither wsgi nor asgi: there is nothing that a server could load")
        return self

    @property
    def ready_asks_database(self) -> bool:
        """Whether the harness's question if the app is up takes a query of its own."""
        path = self.ready.partition("?")[0]
        return any(check.database for check in self.checks if check.endpoint == f"GET {path}")

    @property
    def endpoints_without_database(self) -> frozenset[str]:
        """Endpoints none of whose checks touches the database; bad input alone may be turned away without it."""
        touching = {check.endpoint for check in self.checks if check.database}
        return frozenset(check.endpoint for check in self.checks) - touching


@dataclass(frozen=True)
class App:
    """`folder` is the one that holds manage.py; `source` is its app.yaml."""

    name: str
    folder: Path
    description: AppDescription
    source: Path

    @property
    def packages(self) -> AppPackages | None:
        """What it asks for beside servers and drivers; None where the locked set has all that it needs."""
        files = [self.source.parent / path for path in self.description.dependencies]
        return read_packages(self.name, files) if files else None

    @property
    def env(self) -> Mapping[str, str]:
        """Environment variables of its processes; UsageError where a file of them is missing or no text."""
        found: dict[str, str] = {}
        for name in self.description.env_files:
            path = self.source.parent / name
            if not path.is_file():
                raise UsageError(f"{self.source}: env_files: there is no {path}")
            found |= read_env_file(path)
        return {**found, **self.description.env}

    @property
    def python_path(self) -> list[str]:
        """Where its processes import from, the overlay first and its own PYTHONPATH last.

        UsageError for a folder outside the project: nothing else is there where it runs.
        """
        folders = [(self.source.parent / path).resolve() for path in self.description.python_path]
        for folder in folders:
            if not folder.is_dir() or not folder.is_relative_to(self.folder):
                raise UsageError(f"{self.source}: python_path: {folder} is no folder of the project in {self.folder}")
        own = filter(None, self.env.get("PYTHONPATH", "").split(os.pathsep))
        return list(dict.fromkeys([str(OVERLAY), *map(str, folders), str(self.folder), *own]))

    @property
    def traffic(self) -> str:
        """The name of a profile, or the absolute path of a Locust file; empty where it names neither."""
        text = self.description.traffic
        return str((self.source.parent / text).resolve()) if is_path(text) else text


def is_path(text: str) -> bool:
    """Whether a reference to an app or a traffic profile is a path; otherwise it is a name of this project's own."""
    return "/" in text


def load_app(reference: str) -> App:
    """Reads `apps/<name>/app.yaml`, or the app.yaml at a path, or the one in a folder."""
    if not is_path(reference):
        return read_app(reference, ROOT / "apps" / reference)
    path = Path(reference)
    app = read_app("", path) if path.is_dir() else read_description("", path)
    if not (app.folder / "manage.py").is_file():
        raise UsageError(f"{app.source}: project: there is no manage.py in {app.folder}")
    return app


def code_of(app: App) -> Sequence[Path]:
    """The folders of all the code that its processes load beside their environment's."""
    return (app.folder, OVERLAY)


def read_app(name: str, folder: Path) -> App:
    """The app in a folder, by its app.yaml; UsageError, with the place, where that is wrong."""
    return read_description(name, folder / "app.yaml")


def read_description(name: str, path: Path) -> App:
    """The app that a description is of; without a name it is called as its project's folder is."""
    try:
        raw = YAML(typ="safe").load(path)
        description = AppDescription.model_validate(raw)
        folder = (path.parent / description.project).resolve()
        return App(name or slug(folder.name), folder, description, path)
    except (OSError, YAMLError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def slug(name: str) -> str:
    """As definitions and cells are named: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "app"


def django_database(
    spec: DatabaseSpec,
    connection: ConnectionSpec,
    account: Account,
    address: Address,
    pooler: PoolerSpec | None = None,
) -> dict[str, Any]:
    """The `DATABASES["default"]` of a cell; `address` is its pooler's, where it has one."""
    settings = holding_settings(spec, connection, pooler)
    # The way to a pooler is on this machine: it is the pooler that goes on to the database as that asks for.
    options = {**({} if pooler is not None else spec.django_options), **settings.pop("OPTIONS", {})}
    return {
        **settings,
        "NAME": account.database,
        "USER": account.user,
        "PASSWORD": account.password,
        "HOST": address.host,
        "PORT": address.port,
        **({"OPTIONS": options} if options else {}),
    }


def holding_settings(
    spec: DatabaseSpec, connection: ConnectionSpec, pooler: PoolerSpec | None = None
) -> dict[str, Any]:
    """What `DATABASES["default"]` says of how connections are held, and nothing of where the database is."""
    settings: dict[str, Any] = {
        **(pooler.django_settings if pooler is not None else {}),
        "ENGINE": spec.django_engine,
        "CONN_MAX_AGE": connection.conn_max_age,
        "CONN_HEALTH_CHECKS": connection.conn_health_checks,
    }
    # Otherwise it is as the app's own settings have it.
    if connection.atomic_requests:
        settings["ATOMIC_REQUESTS"] = True
    if not connection.autocommit:
        settings["AUTOCOMMIT"] = False
    if "disable_server_side_cursors" in connection.model_fields_set:
        settings["DISABLE_SERVER_SIDE_CURSORS"] = connection.disable_server_side_cursors
    if connection.options:
        settings["OPTIONS"] = connection.options
    return settings if connection.pool is None else connection.pool.database(settings, spec.driver)


@dataclass(frozen=True)
class Process:
    """What driver and pool need of the app's process beside `DATABASES`."""

    driver: str = ""
    #: Whether Django takes its connections from a pool.
    pooled: bool = False
    #: Django settings of the pool's own.
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: DatabaseSpec, connection: ConnectionSpec) -> "Process":
        pool = connection.pool
        return cls(spec.driver, pool is not None, {} if pool is None else pool.django_settings)


@dataclass(frozen=True)
class Overlay:
    """The environment of one app process, and the token by which its answers are known."""

    env: Mapping[str, str]
    token: str
    #: `DATABASES` with the password masked, for the record.
    shown: Mapping[str, Any]
    #: What is nobody else's to know.
    secrets: Sequence[str] = ()
    #: Variables that came from the app's own description: they may be anything.
    given: frozenset[str] = frozenset()

    def masked(self, environment: Mapping[str, str]) -> dict[str, str]:
        """An environment for the record: wherever a secret stands in it, there is a mask."""
        shown = {name: MASK if name in self.given else value for name, value in environment.items()}
        for secret in self.secrets:
            shown = {name: value.replace(secret, MASK) for name, value in shown.items()}
        return shown


def make_overlay(
    app: App,
    database: Mapping[str, Any],
    host: str,
    timing: Timing = "full",
    process: Process | None = None,
    *,
    query_at_import: bool = False,
) -> Overlay:
    """What an app process needs to run under the overlay with this `DATABASES["default"]`."""
    token = secrets.token_hex(16)
    # A pool's own backend has the product in its name too.
    needed = [one for engine, apps in app.description.apps.items() if engine in database["ENGINE"] for one in apps]
    content = {
        "settings": app.description.settings,
        "databases": {"default": database},
        "aliases": dict(app.description.databases),
        "plain_static": app.description.plain_static,
        "allowed_hosts": [host],
        "middleware": ["connbench_timing.timing_middleware"],
        "apps": [*needed, *([QUERY_AT_IMPORT] if query_at_import else [])],
        "token": token,
        "probe": PROBE_QUERY,
        "timing": timing,
        "process": asdict(process or Process()),
    }
    own = {f"{KEPT_BACK}{name}" if SETTINGS_ALONE.fullmatch(name) else name: value for name, value in app.env.items()}
    env = {
        **own,
        "CONNBENCH_OVERLAY": json.dumps(content),
        "DJANGO_SETTINGS_MODULE": "connbench_settings",
        "PYTHONPATH": os.pathsep.join(app.python_path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    password = database.get("PASSWORD", "")
    # As it is, and as it stands in the JSON above.
    hidden = [token, *filter(None, {password: None, json.dumps(password)[1:-1]: None})]
    shown = {"default": {**database, "PASSWORD": MASK}}
    return Overlay(env, token, shown, hidden, frozenset(own))
