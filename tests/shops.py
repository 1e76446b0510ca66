"""The shop on SQLite, and any server that serves it through the overlay: real processes, and no database server."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import requests

from runner import probe
from runner.provision.commands import run_command
from runner.provision.native import NativeProvider
from runner.provision.native_service import NativeService
from runner.provision.service import Command
from runner.stacks.app import App, Process, Timing, load_app, make_overlay
from runner.stacks.environment import build_environment
from runner.stacks.servers.base import Launch, ServerSpec
from runner.stacks.versions import Recipe

HOST = "127.0.0.1"


@cache
def seeded(base: Path) -> dict[str, Any]:
    """`DATABASES["default"]` of a shop on SQLite, in the session's own folder: seeded once for all tests."""
    path = base / "shop.sqlite3"
    options = {"transaction_mode": "IMMEDIATE", "timeout": 20}
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": options}
    shop = load_app("shop")
    env = make_overlay(shop, database, HOST).env
    for arguments in shop.description.setup:
        manage(*arguments, env=env)
    return database


def manage(*arguments: str, env: dict[str, str] | Any = None, warnings: str = "default") -> str:
    """`manage.py` of the shop, in the app's own environment; returns its output."""
    python = build_environment(Recipe("psycopg3")).bin / "python"
    command = Command([str(python), "-W", warnings, "manage.py", *arguments], env or {}, load_app("shop").folder)
    return run_command(command, limit=400, what=f"manage.py {' '.join(arguments)}")


@dataclass(frozen=True)
class Served:
    """A shop that answers."""

    service: NativeService
    access_log: Path

    def get(self, path: str, **more: Any) -> requests.Response:
        with requests.Session() as client:
            client.trust_env = False
            return client.get(f"http://{self.service.address}{path}", timeout=60, **more)


@contextmanager
def serving(
    spec: ServerSpec,
    database: dict[str, Any],
    folder: Path,
    environment: str = "psycopg3",
    timing: Timing = "full",
    process: Process | None = None,
    app: App | None = None,
) -> Iterator[Served]:
    """Starts the shop, or another app, under this server as an attempt does; its logs are in `folder`."""
    shop, provider = app or load_app("shop"), NativeProvider()
    try:
        address = provider.free_address()
        overlay = make_overlay(shop, database, address.host, timing, process, query_at_import=spec.opens_before_fork)
        launch = Launch(
            bin=build_environment(Recipe(environment)).bin,
            project=shop.folder,
            wsgi=shop.description.wsgi,
            asgi=shop.description.asgi,
            address=address,
            access_log=folder / "access.log",
            scratch=provider.private_folder("scratch"),
            env=overlay.env,
        )
        service = provider.start("shop", spec.command(launch), address, folder / "app.log")
        probe.wait_until_ready(service, shop, overlay.token)
        yield Served(service, folder / "access.log")
    finally:
        provider.close()
