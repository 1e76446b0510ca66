"""What was found, as the files that a person goes on with: app.yaml and a matrix to begin with."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.adopt.ask import Answer
from runner.adopt.crawl import title
from runner.adopt.look import Found
from runner.adopt.present import own_connection
from runner.adopt.trial import Page
from runner.adopt.variables import Variable
from runner.stacks.app import Engine, slug

APP, MATRIX, TRAFFIC = "app.yaml", "matrix.yaml", "traffic.py"
FILES = (APP, MATRIX, TRAFFIC)
KEPT_AGE = 60
USERS = 8
HOW_CODE_WORKS = ("autocommit", "disable_server_side_cursors")
#: As a matrix names the databases.
DATABASES: Mapping[Engine, str] = {"postgres": "pg", "mysql": "my"}


@dataclass(frozen=True)
class Adopted:
    """All that there is to write down. `left_out` says of a database why it is not in the matrix."""

    found: Found
    answer: Answer
    variables: Sequence[Variable]
    python: str
    aliases: Mapping[str, str]
    setup: Sequence[Sequence[str]]
    #: By the database on which alone the project needs them.
    apps: Mapping[Engine, Sequence[str]]
    pages: Sequence[Page]
    databases: Sequence[Engine]
    left_out: Mapping[str, str]
    #: By the database: the project's own, where something says which it is.
    drivers: Mapping[Engine, str]

    @property
    def name(self) -> str:
        return slug(self.found.project.name)

    @property
    def notes(self) -> Sequence[str]:
        """What a reader of the figures should know."""
        found, family, notes = self.found, self.answer.family, list(self.answer.notes)
        if found.deployed_settings:
            notes.append(
                f"manage.py names {found.settings}, which is measured, and .env or an entry point "
                f"{found.deployed_settings} (--settings {found.deployed_settings} takes that)"
            )
        if family and family not in self.drivers:
            notes.append(f"none of its packages is a driver for {family}: the matrix has connbench's own (`driver:`)")
        return notes

    @property
    def ready(self) -> str:
        """A page that answers by itself, the cheapest first; any answer will do where there is none."""
        plain = (page for page in self.pages if "?" not in page.path)
        answering = sorted(plain, key=lambda page: (page.status, page.asked_database))
        return answering[0].path if answering else ""

    @property
    def asked_for(self) -> Sequence[Page]:
        """The pages that visitors see: what traffic is made of where there is no access log."""
        shown = [page for page in self.pages if page.status == 200]
        public = [page for page in shown if "admin" not in page.path]
        return public or shown or self.pages


def app_yaml(adopted: Adopted, out: Path) -> str:
    """The description, with where each thing was found; paths are relative to `out`."""
    found = adopted.found
    beside = "Beside the settings"
    lines = [
        f"# {adopted.name}, as `connbench init` found it. Change whatever is wrong; docs/your-app.md has every field.",
        "",
        "# The folder of manage.py.",
        f"project: {_text(_relative(found.project, out))}",
        *_python_path(found, out),
        "# From manage.py.",
        f"settings: {found.settings}",
        *([f"# {beside}.", f"wsgi: {found.wsgi}"] if found.wsgi else []),
        *([f"# {beside}.", f"asgi: {found.asgi}"] if found.asgi else []),
        *_python(adopted),
        *_dependencies(adopted, out),
        *_env_files(found, out),
        *_variables(adopted.variables),
        *_aliases(adopted.aliases),
        *_apps(adopted.apps),
        *_plain_static(adopted),
        "",
        "# Arguments of manage.py, run once and in this order into a fresh database. Load your data here too:",
        "#   - [loaddata, fixture.json]",
        "setup:",
        *(f"  - {_list(arguments)}" for arguments in adopted.setup),
        "",
        "# Answers once the process is up." if adopted.ready else "# Any answer will do: no page was found.",
        f"ready: {_text(adopted.ready)}",
        "",
        "# Each is asked for before anything is measured. `database: false` takes no query.",
        *_checks(adopted.pages),
        "",
        "# What a matrix is driven with unless it says otherwise.",
        f"traffic: ./{TRAFFIC}",
    ]
    if adopted.notes:
        lines += ["", *(f"# Note: {note}." for note in adopted.notes)]
    return "\n".join(lines) + "\n"


def matrix_yaml(adopted: Adopted) -> str:
    """Four cells: two databases where the project can, and the present connection settings against others."""
    server = "gunicorn: {kind: gunicorn, worker_class: gthread, workers: 2, threads: 4}"
    if not adopted.found.wsgi:
        server = "uvicorn: {kind: uvicorn, workers: 2}"
    servers = [server]
    if len(adopted.databases) == 1:
        more = "sync: {kind: gunicorn, worker_class: sync, workers: 4}"
        servers.append(more if adopted.found.wsgi else "single: {kind: uvicorn, workers: 1}")
    connections = _connections(adopted.answer)
    databases = [_database(engine, adopted.drivers.get(engine)) for engine in adopted.databases]
    lines = [
        f"# A beginning for {adopted.name}: more servers, settings and poolers are in matrices/all.yaml.",
        f"name: {adopted.name}",
        f"app: ./{APP}",
        f"load: {{users: {USERS}}}",
        "",
        *(f"# Without {engine}: {why.splitlines()[0]}" for engine, why in adopted.left_out.items()),
        "databases:",
        *(f"  {database}" for database in databases),
        "servers:",
        *(f"  {one}" for one in servers),
        "connections:",
        *(f"  {one}" for one in connections),
        "matrix:",
        f"  database: {_names(databases)}",
        f"  server: {_names(servers)}",
        f"  connection: {_names(connections)}",
    ]
    return "\n".join(lines) + "\n"


def _python_path(found: Found, out: Path) -> list[str]:
    folders = _list([_relative(path, out) for path in found.python_path])
    return ["# Its code is imported from here.", f"python_path: {folders}"] if found.python_path else []


def _python(adopted: Adopted) -> list[str]:
    if not adopted.python:
        return []
    stated = adopted.python == adopted.found.python
    said = f"From {adopted.found.python_from}." if stated else "The oldest here for which its packages exist."
    return [f"# {said}", f'python: "{adopted.python}"']


def _dependencies(adopted: Adopted, out: Path) -> list[str]:
    files = adopted.found.dependencies
    if not files:
        return ["# No file that names its packages was found: Django alone is installed.", "dependencies: []"]
    return [
        "# Servers and drivers come in connbench's own locked versions.",
        f"dependencies: {_list([_relative(path, out) for path in files])}",
    ]


def _env_files(found: Found, out: Path) -> list[str]:
    if not found.env_files:
        return []
    files = _list([_relative(path, out) for path in found.env_files])
    return ["# Read with each start; what is secret in them stays there.", f"env_files: {files}"]


def _variables(variables: Sequence[Variable]) -> list[str]:
    if not variables:
        return []
    origins = [f"from {one.origin}" if one.origin else "stands in: no file has a value" for one in variables]
    rows = [f"  {one.name}: {_text(one.value)}  # {origin}" for one, origin in zip(variables, origins, strict=True)]
    return ["# The settings ask for these.", "env:", *rows]


def _aliases(aliases: Mapping[str, str]) -> list[str]:
    said = "# Of DATABASES: another way to the cell's database (default), or taken out (none)."
    return [said, "databases:", *(f"  {alias}: {role}" for alias, role in aliases.items())] if aliases else []


def _apps(apps: Mapping[Engine, Sequence[str]]) -> list[str]:
    rows = [f"  {engine}: {_list(names)}" for engine, names in apps.items()]
    return ["# Django's system check asks for these, on that database alone.", "apps:", *rows] if rows else []


def _plain_static(adopted: Adopted) -> list[str]:
    if not adopted.answer.plain_static:
        return []
    return ["# Nothing has collected them under names with a hash.", "plain_static: true"]


def _checks(pages: Sequence[Page]) -> list[str]:
    if not pages:
        return ["checks: []"]
    lines = ["checks:"]
    for page in pages:
        parts = [f"path: {_text(page.path)}", f"status: {page.status}"]
        if text := title(page):
            parts.append(f"contains: {_text(text)}")
        if not page.asked_database:
            parts.append("database: false")
        lines.append(f"  - {{{', '.join(parts)}}}")
    return lines


def _database(engine: Engine, driver: str | None) -> str:
    own = f", driver: {driver}}}  # as the project has it" if driver else "}"
    return f"{DATABASES[engine]}: {{engine: {engine}{own}"


def _connections(answer: Answer) -> list[str]:
    """The project's own settings first: they are what the others are compared with."""
    own = own_connection(answer.default, answer.pool_settings)
    but_for = f", but for {', '.join(own.left)}" if own.left else ""
    holds = "pool" in own.connection or own.connection["conn_max_age"] != 0
    other = {"conn_max_age": 0} if holds else {"conn_max_age": KEPT_AGE, "conn_health_checks": True}
    # How the app's code works stays as it is: what is compared is how connections are held.
    other |= {name: own.connection[name] for name in HOW_CODE_WORKS if name in own.connection}
    name = "per-request" if holds else "persistent"
    return [f"present: {_mapping(own.connection)}  # as the settings have it{but_for}", f"{name}: {_mapping(other)}"]


def _relative(path: Path, out: Path) -> str:
    return os.path.relpath(path, out.resolve())


def _names(definitions: Sequence[str]) -> str:
    return f"[{', '.join(one.partition(':')[0] for one in definitions)}]"


def _mapping(values: Mapping[str, Any]) -> str:
    """In YAML's flow style."""
    return "{" + ", ".join(f"{key}: {_value(value)}" for key, value in values.items()) + "}"


def _value(value: Any) -> str:
    return _mapping(value) if isinstance(value, Mapping) else json.dumps(value)


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _text(value: str) -> str:
    """Text as JSON writes it, which is YAML too."""
    return json.dumps(value, ensure_ascii=False)
