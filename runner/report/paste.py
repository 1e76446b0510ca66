"""A cell's settings as text to paste: behind Django's `DATABASES`, as a command line, into the pooler's file."""

import shlex
from collections.abc import Mapping

from runner.analysis.advice_model import Paste
from runner.deployed import deployed_command
from runner.matrix.cells import Cell
from runner.stacks.app import AppDescription, Process, holding_settings
from runner.stacks.drivers import DRIVERS
from runner.stacks.pools import POOLS

_OF_POOLS = frozenset(key for pool in POOLS for key in pool.own_keys)
_OPTIONS_OF_POOLS = frozenset(option for pool in POOLS for option in pool.own_options)


def paste_of(cell: Cell, app: AppDescription) -> Paste:
    """What to put where, for one cell."""
    return Paste(
        settings=_settings(cell, app),
        command=shlex.join(deployed_command(cell, app)),
        files=cell.server.files,
        pooler="" if cell.pooler is None else cell.pooler.configuration,
    )


def _settings(cell: Cell, app: AppDescription) -> str:
    """Changes the app's own `DATABASES` where it says how connections are held, and leaves the rest of it alone.

    Every alias that was measured on the cell's database gets the same.
    """
    held = holding_settings(cell.database, cell.connection, cell.pooler)
    options = held.pop("OPTIONS", {})
    needed = ", ".join(sorted(cell.database.packages | cell.connection.packages))
    aliases = ["default", *(alias for alias, role in app.databases.items() if role == "default" and alias != "default")]
    remarks = _remarks(cell, held)
    further = Process.of(cell.database, cell.connection).settings
    lines = [
        f"# Behind DATABASES: what is not named here stays as it is. Needs {needed}.",
        *filter(None, [DRIVERS[cell.database.driver].settings]),
        *_to_the_pooler(cell),
        f"for database in [{', '.join(f'DATABASES[{_text(alias)}]' for alias in aliases)}]:",
        "    database.update(",
        "        {",
        *(f"            {_text(name)}: {_value(value)},{remarks.get(name, '')}" for name, value in held.items()),
        f'            "OPTIONS": {{**database.get("OPTIONS", {{}}){_added(options)}}},',
        "        }",
        "    )",
        "    # What another pool may have left there.",
        *(f"    database.pop({_text(name)}, None)" for name in sorted(_OF_POOLS - set(held))),
        *(f'    database["OPTIONS"].pop({_text(name)}, None)' for name in sorted(_OPTIONS_OF_POOLS - set(options))),
        *(f"{name} = {_value(value)}" for name, value in further.items()),
    ]
    return "\n".join(lines)


def _remarks(cell: Cell, held: Mapping[str, object]) -> dict[str, str]:
    """What to know of a line, behind it."""
    remarks = {}
    if held["ENGINE"] == cell.database.django_engine:
        # Engines that count or trace were not measured.
        remarks["ENGINE"] = "  # or one that is built upon it and does not pool"
    if held.get("CONN_MAX_AGE") != 0 and held.get("CONN_HEALTH_CHECKS") is False:
        remarks["CONN_HEALTH_CHECKS"] = (
            "  # as measured; True costs a query a request, and survives a restart of the database"
        )
    return remarks


def _to_the_pooler(cell: Cell) -> list[str]:
    if cell.pooler is None:
        return []
    return [
        f"# HOST and PORT become those of {cell.pooler.kind}, on the same host; what OPTIONS say of encryption is said",
        "# of the way to it, and its own file says how it goes on to the database.",
    ]


def _added(options: Mapping[str, object]) -> str:
    return "".join(f", {_text(name)}: {_value(value)}" for name, value in options.items())


def _value(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_value(name)}: {_value(one)}' for name, one in value.items())}}}"
    return _text(value) if isinstance(value, str) else repr(value)


def _text(value: str) -> str:
    """In double quotes where that needs no escapes, as most settings files have it."""
    return repr(value) if '"' in value or "\\" in value or not value.isprintable() else f'"{value}"'
