"""The app under test: its description (`apps/<name>/app.yaml`) and what the overlay tells its process."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from runner.errors import UsageError
from runner.models import Strict
from runner.provision.service import Address
from runner.stacks.connection import ConnectionSpec
from runner.stacks.databases import DatabaseSpec
from runner.stacks.databases.base import Account
from runner.stacks.poolers.base import PoolerSpec
from runner.stacks.servers.base import PROBE_QUERY

ROOT = Path(__file__).resolve().parents[2]
OVERLAY = Path(__file__).parent / "overlay"
QUERY_AT_IMPORT = "connbench_query_at_import.QueryAtImport"
MASK = "********"

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
    """app.yaml."""

    settings: str
    wsgi: str
    asgi: str = ""
    setup: Sequence[Sequence[str]]
    ready: str
    checks: Sequence[Check]
    audits: Sequence[Audit] = ()

    @property
    def endpoints_without_database(self) -> frozenset[str]:
        """Endpoints none of whose checks touches the database; bad input alone may be turned away without it."""
        touching = {check.endpoint for check in self.checks if check.database}
        return frozenset(check.endpoint for check in self.checks) - touching


@dataclass(frozen=True)
class App:
    name: str
    folder: Path
    description: AppDescription


def load_app(name: str) -> App:
    """Reads `apps/<name>/app.yaml`."""
    return read_app(name, ROOT / "apps" / name)


def code_of(app: App) -> Sequence[Path]:
    """The folders of all the code that its processes load beside their environment's."""
    return (app.folder, OVERLAY)


def read_app(name: str, folder: Path) -> App:
    """The app in a folder, by its app.yaml; UsageError, with the place, where that is wrong."""
    path = folder / "app.yaml"
    try:
        raw = YAML(typ="safe").load(path)
        return App(name, folder, AppDescription.model_validate(raw))
    except (OSError, YAMLError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def django_database(
    spec: DatabaseSpec,
    connection: ConnectionSpec,
    account: Account,
    address: Address,
    pooler: PoolerSpec | None = None,
) -> dict[str, Any]:
    """The `DATABASES["default"]` of a cell; `address` is its pooler's, where it has one."""
    settings: dict[str, Any] = {
        **(pooler.django_settings if pooler is not None else {}),
        "ENGINE": spec.django_engine,
        "NAME": account.database,
        "USER": account.user,
        "PASSWORD": account.password,
        "HOST": address.host,
        "PORT": address.port,
        "CONN_MAX_AGE": connection.conn_max_age,
        "CONN_HEALTH_CHECKS": connection.conn_health_checks,
    }
    if connection.atomic_requests:
        settings["ATOMIC_REQUESTS"] = True
    if not connection.autocommit:
        settings["AUTOCOMMIT"] = False
    if "disable_server_side_cursors" in connection.model_fields_set:
        settings["DISABLE_SERVER_SIDE_CURSORS"] = connection.disable_server_side_cursors
    # The way to a pooler is on this machine: it is the pooler that goes on to the database as that asks for.
    if options := {**({} if pooler is not None else spec.django_options), **connection.options}:
        settings["OPTIONS"] = options
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

    def masked(self, environment: Mapping[str, str]) -> dict[str, str]:
        """An environment for the record: wherever a secret stands in it, there is a mask."""
        shown = dict(environment)
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
    content = {
        "settings": app.description.settings,
        "databases": {"default": database},
        "allowed_hosts": [host],
        "middleware": ["connbench_timing.TimingMiddleware"],
        "apps": [QUERY_AT_IMPORT] if query_at_import else [],
        "token": token,
        "probe": PROBE_QUERY,
        "timing": timing,
        "process": asdict(process or Process()),
    }
    env = {
        "CONNBENCH_OVERLAY": json.dumps(content),
        "DJANGO_SETTINGS_MODULE": "connbench_settings",
        "PYTHONPATH": f"{OVERLAY}:{app.folder}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    hidden = [token, *filter(None, [database.get("PASSWORD")])]
    return Overlay(env, token, {"default": {**database, "PASSWORD": MASK}}, hidden)
