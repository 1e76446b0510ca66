"""An app started once under the plainest stack there is: one worker, a connection for each request, no load."""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from runner import doctor, probe
from runner.asking import asking
from runner.errors import EnvironmentUnfit, PortLost
from runner.load.recorder import server_timing
from runner.preparation import make_template
from runner.provision.native import NativeProvider
from runner.provision.service import Provider, Service
from runner.stacks.app import App, AppDescription, Overlay, Process, django_database, make_overlay
from runner.stacks.connection import ConnectionSpec
from runner.stacks.databases import DatabaseSpec, make_database
from runner.stacks.databases.base import Account, Database
from runner.stacks.environment import AppEnvironment
from runner.stacks.servers.base import Launch, ServerSpec
from runner.stacks.servers.gunicorn import GunicornSpec
from runner.stacks.servers.uvicorn import UvicornSpec

PLAIN = ConnectionSpec()
PORT_TRIES = 3


def require_servers(engines: Iterable[str]) -> None:
    """EnvironmentUnfit, with the way out, where a database server is missing that the app is to be tried on."""
    try:
        doctor.require_programs(engines)
    except EnvironmentUnfit as error:
        raise EnvironmentUnfit(
            f"{error}\n`init` and `check` try an app on this machine itself, also where a run takes containers: "
            f"`{doctor.SET_UP}` installs the servers"
        ) from error


def plain_server(description: AppDescription) -> ServerSpec:
    """One worker of the commonest server that can load the app."""
    return GunicornSpec(workers=1) if description.wsgi else UvicornSpec(workers=1)


@dataclass(frozen=True)
class Page:
    """One answer: how the app took it."""

    path: str
    status: int
    text: str
    location: str
    #: Whether the app says that a statement was run for it.
    asked_database: bool
    milliseconds: float


@dataclass(frozen=True)
class Standing:
    """An app that answers, on a database of its own."""

    app: App
    product: str
    service: Service
    provider: Provider
    logs: Path
    #: What set-up and start took.
    setup_seconds: float
    start_seconds: float

    def get(self, path: str) -> Page | None:
        """None where no answer came."""
        with probe.own_client() as client:
            try:
                answer = probe.request(client, self.service.address, "GET", path)
            except requests.RequestException:
                return None
        spent = server_timing(answer.headers["Server-Timing"]) if "Server-Timing" in answer.headers else None
        return Page(
            path,
            answer.status_code,
            answer.text,
            answer.headers.get("Location", ""),
            asked_database=spent is not None and spent[5] > 0,
            milliseconds=answer.elapsed.total_seconds() * 1000,
        )


@contextmanager
def standing(app: App, spec: DatabaseSpec, environment: AppEnvironment, logs: Path) -> Iterator[Standing]:
    """Starts a database and the app on it, its set-up commands run; everything has gone at the end.

    Raises StackError, with the log's tail, for whatever does not come up. Logs are kept in `logs`.
    """
    with ExitStack() as closing:
        provider = NativeProvider()
        closing.callback(provider.close)
        database = make_database(spec)
        database.start(provider, spec.engine, logs)
        closing.callback(database.close)
        began = time.monotonic()
        template = make_template("template_app", database, app, environment, provider)
        with asking(database, "a copy of the template"):
            account = database.create_from_template("check", template.account)
        prepared = time.monotonic()
        service = _started(app, database, account, environment, provider, logs)
        yield Standing(app, database.product, service, provider, logs, prepared - began, time.monotonic() - prepared)


def _started(
    app: App, database: Database, account: Account, environment: AppEnvironment, provider: Provider, logs: Path
) -> Service:
    for tries_left in reversed(range(PORT_TRIES)):
        service, overlay = _launch(app, database, account, environment, provider, logs)
        try:
            probe.wait_until_ready(service, app, overlay.token)
        except PortLost:
            provider.stop(service)
            if not tries_left:
                raise
        else:
            return service
    raise AssertionError("the last try returns or raises")


def _launch(
    app: App, database: Database, account: Account, environment: AppEnvironment, provider: Provider, logs: Path
) -> tuple[Service, Overlay]:
    address = provider.free_address()
    settings = django_database(database.spec, PLAIN, account, database.service.address)
    overlay = make_overlay(app, settings, address.host, process=Process.of(database.spec, PLAIN))
    launch = Launch(
        bin=environment.bin,
        project=app.folder,
        wsgi=app.description.wsgi,
        asgi=app.description.asgi,
        address=address,
        access_log=logs / f"{database.spec.engine}-access.log",
        scratch=provider.private_folder(f"app-{address.port}"),
        env=overlay.env,
    )
    command = plain_server(app.description).command(launch)
    name = f"{app.name} on {database.product}"
    return provider.start(name, command, address, logs / f"{database.spec.engine}-app.log"), overlay
