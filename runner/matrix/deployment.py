"""A deployment's `.env` file to a matrix of one cell: what will this deployment open?

The names are those that deployments use: `DB_CONN_MAX_AGE`, `DB_POOL_*`, `DATABASE_URL` or `DB_ENGINE`, uWSGI's own
`UWSGI_*`, gunicorn's `WEB_CONCURRENCY` and `GUNICORN_CMD_ARGS`. A name that is not understood is shown without its
value, which may be a secret.
"""

import argparse
import math
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream
from pydantic import TypeAdapter, ValidationError

from runner.durations import write_duration
from runner.errors import UsageError
from runner.matrix.expansion import Expansion
from runner.matrix.shape import own_words
from runner.matrix.spec import LoadSpec, MatrixFile
from runner.stacks.connection import ConnectionSpec
from runner.stacks.databases import SPECS, AnyDatabaseSpec
from runner.stacks.servers import AnyServerSpec

#: By the names that dj-database-url and django-environ have for them, too.
_ENGINES = {
    "postgresql": "postgres",
    **{engine: engine for engine in SPECS},
    **dict.fromkeys(("psql", "pgsql", "postgis"), "postgres"),
    "mysql2": "mysql",
}
#: Of a URL what stands before its host: `postgresql`, and of `mysql+pymysql` the first half.
_SCHEME = re.compile(r"\s*([A-Za-z][\w.-]*)(\+[\w.-]+)?://")
# Where the database is, not how it is connected to.
_WITHOUT_EFFECT = ("DB_NAME", "DB_USER", "DB_PASSWORD", "DB_HOST", "DB_PORT")
_FEWEST_CLIENTS, _MOST_CLIENTS = 16, 10_000

Reader = Callable[[str], Any]


@dataclass(frozen=True)
class Deployment:
    """`matrix` has one cell; `not_understood` are names with their lines, `assumed` is what the file does not say."""

    matrix: MatrixFile
    not_understood: tuple[str, ...]
    assumed: tuple[str, ...]


def read_deployment(path: Path) -> Deployment:
    """Reads a `.env` file; UsageError names every bad value with file and line."""
    file = _EnvFile(path)
    database = file.validated(AnyDatabaseSpec, _database(file))
    server = file.validated(AnyServerSpec, _server(file))
    connection = file.validated(ConnectionSpec, _connection(file))
    file.refuse_if_wrong()
    places = server.process_count * (server.threads_per_process or server.client_limit or 1)
    clients = min(max(2 * places, _FEWEST_CLIENTS), _MOST_CLIENTS)
    file.assumed.append(f"{clients} clients at once, none kept alive, as behind a proxy")
    matrix = MatrixFile(
        name="deployment",
        load=LoadSpec(users=clients, keep_alive=False),
        blocks=1,
        databases={database.engine: database},
        servers={server.kind: server},
        connections={"deployment": connection},
        matrix={"connection": ["deployment"]},
    )
    return Deployment(matrix, tuple(file.not_understood()), tuple(file.assumed))


def refuse_if_impossible(expansion: Expansion) -> None:
    """UsageError with the reason where the deployment's one cell cannot exist."""
    for skipped in expansion.skipped:
        raise UsageError(f"this deployment cannot work: {skipped.reason}")


@dataclass(frozen=True)
class _Entry:
    name: str
    value: str
    line: int


class _EnvFile:
    """The entries of a `.env` file, which of them were used, and what is wrong with them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.assumed: list[str] = []
        self._problems: list[tuple[int, str]] = []
        self._used = set(_WITHOUT_EFFECT)
        self._arguments: list[tuple[int, str]] = []
        self._origins: dict[str, _Entry] = {}
        try:
            with path.open() as stream:
                bindings = list(parse_stream(stream))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: cannot be read: {error}") from error
        self._entries: dict[str, _Entry] = {}
        for binding in bindings:
            # A binding begins behind the one before it: blank lines belong to it.
            text = binding.original.string
            line = binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
            if binding.error:
                self._problems.append((line, "found a line that is no NAME=value"))
            elif binding.key is not None:
                self._entries[binding.key] = _Entry(binding.key, binding.value or "", line)

    def take(self, *names: str) -> _Entry | None:
        """The first of these names that is there."""
        found = [self._entries[name] for name in names if name in self._entries]
        self._used.update(entry.name for entry in found)
        if len(found) > 1 and found[0].value != found[1].value:
            self.wrong(found[1], f"{found[1].name} says otherwise than {found[0].name} in line {found[0].line}")
        return found[0] if found else None

    def fields(self, readers: Mapping[str, tuple[str, Reader]]) -> dict[str, Any]:
        """Field to value for the names that are there; `readers` has the field and the reader of each name."""
        values = {}
        for name, (field, reader) in readers.items():
            entry = self.take(name)
            if entry is None:
                continue
            self._origins[field] = entry
            try:
                values[field] = reader(entry.value.strip())
            except ValueError as error:
                self.wrong(entry, f"found {entry.value!r}, allowed: {error}")
        return values

    def arguments(self, entry: _Entry, words: list[str]) -> None:
        """Words of a command line in the file that are not understood."""
        self._arguments += [(entry.line, f"{entry.name}: {word}") for word in words]

    def origin(self, field: str, entry: _Entry) -> None:
        """Where a field of a spec comes from, for messages."""
        self._origins[field] = entry

    def wrong(self, entry: _Entry, text: str) -> None:
        self._problems.append((entry.line, f"{entry.name}: {text}" if entry.name not in text else text))

    def validated(self, kind: Any, values: dict[str, Any]) -> Any:
        """The values as a spec; None, problems noted, if they are none."""
        try:
            return TypeAdapter(kind).validate_python(values)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                named = [self._origins[str(part)] for part in detail["loc"] if str(part) in self._origins]
                mentioned = [entry for field, entry in self._origins.items() if field in own_words(detail).split()]
                origin = (named or mentioned or [_Entry("", "", 1)])[-1]
                self._problems.append((origin.line, f"{origin.name}: {own_words(detail)}".removeprefix(": ")))
            return None

    def refuse_if_wrong(self) -> None:
        """UsageError with every problem, in the file's order."""
        if self._problems:
            raise UsageError("\n".join(f"{self.path}:{line}: {text}" for line, text in sorted(self._problems)))

    def refuse(self, text: str) -> None:
        """Notes what is missing altogether."""
        self._problems.append((1, text))

    def not_understood(self) -> list[str]:
        """Names, and arguments of command lines, that nothing was made of; no values."""
        unknown = [(entry.line, name) for name, entry in self._entries.items() if name not in self._used]
        return [f"{self.path}:{line}: {text}" for line, text in sorted(unknown + self._arguments)]


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("a whole number") from None


def _seconds(text: str) -> str:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise ValueError("a number of seconds above 0")
    return write_duration(seconds)


def _age(text: str) -> int | None:
    if text.lower() in ("none", "null"):
        return None
    try:
        return int(text)
    except ValueError:
        raise ValueError("a whole number of seconds, or None") from None


def _switch(text: str) -> bool:
    yes, no = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")
    if text.lower() not in (*yes, *no):
        raise ValueError("true or false (1 or 0, yes or no, on or off)")
    return text.lower() in yes


def _database(file: _EnvFile) -> dict[str, Any]:
    url, named = file.take("DATABASE_URL"), file.take("DB_ENGINE")
    # A URL can say which product of a family it is; Django has one backend for all of them.
    found = [engine for entry in (url, named) if entry is not None and (engine := _engine(file, entry))]
    if url is None and named is None:
        file.refuse("neither DATABASE_URL nor DB_ENGINE is there: which database is it?")
    if url and named and len({SPECS[engine].family for engine in found}) > 1:
        file.wrong(named, f"DB_ENGINE says otherwise than DATABASE_URL in line {url.line}")
    if not found:
        return {"engine": "postgres"}
    values = {"engine": found[0], **file.fields({"DB_MAX_CONNECTIONS": ("max_connections", _whole)})}
    if "max_connections" not in values:
        values["max_connections"] = SPECS[found[0]].own_max_connections
        file.assumed.append(f"the database's own max_connections, {values['max_connections']} (DB_MAX_CONNECTIONS)")
    return values


def _engine(file: _EnvFile, entry: _Entry) -> str:
    """The matrix's `engine`; empty, the problem noted, where there is none."""
    if entry.name == "DATABASE_URL":
        # The URL has a password in it, perhaps spelt as no URL may have it: only its scheme is read, and shown.
        scheme = _SCHEME.match(entry.value)
        product = scheme[1].lower() if scheme else ""
    else:
        product = entry.value.strip().removeprefix("django.db.backends.")
    if product not in _ENGINES:
        file.wrong(entry, f"found {product!r}, allowed: {', '.join(_ENGINES)} (or django.db.backends.…)")
    return _ENGINES.get(product, "")


def _connection(file: _EnvFile) -> dict[str, Any]:
    values = file.fields(
        {
            "DB_CONN_MAX_AGE": ("conn_max_age", _age),
            "DB_CONN_HEALTH_CHECKS": ("conn_health_checks", _switch),
            "DB_ATOMIC_REQUESTS": ("atomic_requests", _switch),
            "DB_DISABLE_SERVER_SIDE_CURSORS": ("disable_server_side_cursors", _switch),
        }
    )
    pool = file.fields(
        {
            "DB_POOL_MIN_SIZE": ("min_size", _whole),
            "DB_POOL_MAX_SIZE": ("max_size", _whole),
            "DB_POOL_TIMEOUT": ("timeout", _seconds),
            "DB_POOL_MAX_WAITING": ("max_waiting", _whole),
            "DB_POOL_MAX_LIFETIME": ("max_lifetime", _seconds),
            "DB_POOL_MAX_IDLE": ("max_idle", _seconds),
            "DB_POOL_RECONNECT_TIMEOUT": ("reconnect_timeout", _seconds),
            "DB_POOL_NUM_WORKERS": ("num_workers", _whole),
        }
    )
    if file.fields({"DB_POOL_ENABLED": ("enabled", _switch)}).get("enabled"):
        return {**values, "pool": {"kind": "native", **pool}}
    if pool:
        file.assumed.append("no pool, since DB_POOL_ENABLED does not turn it on")
    return values


def _server(file: _EnvFile) -> dict[str, Any]:
    uwsgi = file.take("UWSGI_PROCESSES", "UWSGI_WORKERS") or file.take("UWSGI_THREADS")
    gunicorn = file.take("GUNICORN_CMD_ARGS") or file.take("WEB_CONCURRENCY")
    if uwsgi and gunicorn:
        file.wrong(gunicorn, f"{gunicorn.name} is gunicorn's, and {uwsgi.name} in line {uwsgi.line} is uWSGI's")
    elif not uwsgi and not gunicorn:
        file.refuse("no server: UWSGI_PROCESSES and UWSGI_THREADS, or WEB_CONCURRENCY and GUNICORN_CMD_ARGS")
    return _gunicorn(file) if gunicorn and not uwsgi else _uwsgi(file)


def _uwsgi(file: _EnvFile) -> dict[str, Any]:
    names = {"UWSGI_WORKERS": ("processes", _whole), "UWSGI_PROCESSES": ("processes", _whole)}
    # One of each is uWSGI's own default.
    return {
        "kind": "uwsgi",
        "processes": 1,
        "threads": 1,
        **file.fields({**names, "UWSGI_THREADS": ("threads", _whole)}),
    }


def _gunicorn(file: _EnvFile) -> dict[str, Any]:
    values = {"kind": "gunicorn", "workers": 1, **file.fields({"WEB_CONCURRENCY": ("workers", _whole)})}
    entry = file.take("GUNICORN_CMD_ARGS")
    if entry is not None:
        values |= _gunicorn_arguments(file, entry)
    # gunicorn does the same: its sync worker has no threads.
    if values.get("threads", 1) > 1 and values.get("worker_class", "sync") == "sync":
        values["worker_class"] = "gthread"
    return values


class _Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise ValueError(message)


def _gunicorn_arguments(file: _EnvFile, entry: _Entry) -> dict[str, Any]:
    parser = _Arguments(add_help=False, allow_abbrev=False)
    parser.add_argument("-w", "--workers", type=int)
    parser.add_argument("-k", "--worker-class")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--worker-connections", type=int)
    try:
        known, others = parser.parse_known_args(shlex.split(entry.value))
    except ValueError as error:
        file.wrong(entry, str(error))
        return {}
    file.arguments(entry, [word for word in others if word.startswith("-")])
    values = {field: value for field, value in vars(known).items() if value is not None}
    for field in values:
        file.origin(field, entry)
    return values
