"""A cell's settings as text to paste: Django's `DATABASES`, the server's command line, the pooler's section."""

import shlex

from runner.analysis.advice_model import Paste
from runner.deployed import deployed_command, deployed_databases
from runner.matrix.cells import Cell
from runner.stacks.app import AppDescription

#: Django's names for what a deployment has of its own, and the variables that hold it.
_OWN = {"NAME": "DB_NAME", "USER": "DB_USER", "PASSWORD": "DB_PASSWORD", "HOST": "DB_HOST", "PORT": "DB_PORT"}


class _Code:
    """Stands in a dictionary as itself, not as text."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __repr__(self) -> str:
        return self._code


def paste_of(cell: Cell, app: AppDescription) -> Paste:
    """What to put where, for one cell."""
    return Paste(
        settings=_settings(cell),
        command=shlex.join(deployed_command(cell, app)),
        pooler=_pooler(cell),
    )


def _settings(cell: Cell) -> str:
    database, further = deployed_databases(cell)
    own = {name: _Code(f'os.environ["{variable}"]') for name, variable in _OWN.items()}
    lines = [
        "import os",
        "",
        "DATABASES = {",
        '    "default": {',
        *(f"        {_text(name)}: {_value(value)}," for name, value in {**database, **own}.items()),
        "    }",
        "}",
        *(f"{name} = {_value(value)}" for name, value in further.items()),
    ]
    return "\n".join(lines)


def _value(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_value(name)}: {_value(one)}' for name, one in value.items())}}}"
    return _text(value) if isinstance(value, str) else repr(value)


def _text(value: str) -> str:
    """In double quotes where that needs no escapes, as most settings files have it."""
    return repr(value) if '"' in value or "\\" in value or not value.isprintable() else f'"{value}"'


def _pooler(cell: Cell) -> str:
    """The parameters that the matrix names, in the spelling that it has for them."""
    if cell.pooler is None:
        return ""
    values = cell.pooler.model_dump(mode="json", exclude_unset=True)
    values.pop("kind")
    if "pool_size" in values:
        # PgBouncer's own name for it.
        values["default_pool_size"] = values.pop("pool_size")
    lines = [f"{name} = {value}" for name, value in values.items() if not isinstance(value, dict)]
    lines += [f"{name} = {value}" for name, value in values.get("settings", {}).items()]
    return "\n".join([f"; {cell.pooler.kind}, one on each host", *lines])
