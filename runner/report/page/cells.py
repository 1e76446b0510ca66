"""Each cell in full: what it was, how to have the same, every attempt, what went wrong, what its logs end with."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pprint import pformat
from typing import Any
from urllib.parse import quote

from runner.report.page.data import Cell, RunData
from runner.results.schema import AttemptRecord

#: Characters of one log's end, what all logs of a page may have together, and the least that says anything.
_LONGEST_TAIL, _ALL_TAILS, _SHORTEST_TAIL = 3_000, 300_000, 200
#: Logs of every request: figures have them already.
_LEFT_OUT = ("access.log",)
#: Characters of an error's example.
_LONGEST_EXAMPLE = 2_000


@dataclass(frozen=True)
class LogTail:
    """`is_cut` says that the log begins before this."""

    name: str
    block: int
    text: str
    is_cut: bool


@dataclass(frozen=True)
class CellDetails:
    """`raw` is the way from the page to each attempt's folder, by block; empty where the page stands elsewhere."""

    cell: Cell
    command: str
    databases: str
    params: Mapping[str, str]
    errors: Sequence[tuple[str, int, str]]
    logs: Sequence[LogTail]
    raw: Mapping[int, str]

    @property
    def attempts(self) -> Sequence[AttemptRecord]:
        return self.cell.attempts


def cells_section(data: RunData, *, with_raw: bool) -> list[CellDetails]:
    """Every cell; `with_raw` links to the folders beside the page."""
    longest = max(_SHORTEST_TAIL, min(_LONGEST_TAIL, _ALL_TAILS // max(len(data.cells), 1)))
    return [_details(data, cell, longest, with_raw) for cell in data.cells]


def _details(data: RunData, cell: Cell, longest: int, with_raw: bool) -> CellDetails:
    metrics, shown = cell.summary.metrics, cell.shown
    kinds = metrics.errors.by_kind if metrics else {}
    folders = cell.folders if with_raw else {}
    return CellDetails(
        cell=cell,
        command=shlex.join(shown.server_command) if shown else "",
        databases=databases_block(shown.django_databases) if shown and shown.django_databases else "",
        params={name: parameters(values) for name, values in cell.summary.params.items()},
        errors=[(name, kind.count, cut(kind.example, _LONGEST_EXAMPLE)) for name, kind in kinds.items()],
        logs=list(_logs(cell, longest)),
        raw={block: f"{quote(os.path.relpath(path, data.folder))}/" for block, path in folders.items()},
    )


def databases_block(databases: Mapping[str, Any]) -> str:
    """The setting as Python takes it."""
    return f"DATABASES = {pformat(dict(databases), sort_dicts=False, width=72)}"


def parameters(values: object) -> str:
    """`kind gunicorn · workers 4 · keep_alive true`, on one line."""
    if not isinstance(values, Mapping):
        return _word(values)
    return " · ".join(f"{name} {_word(value)}" for name, value in values.items())


def _word(value: object) -> str:
    if isinstance(value, Mapping):
        return f"({', '.join(f'{name} {_word(each)}' for name, each in value.items())})"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def cut(text: str, most: int) -> str:
    """The beginning of what is too long to show, and how much is left out."""
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most} more characters)"


def _logs(cell: Cell, longest: int) -> list[LogTail]:
    """The logs of an attempt that went wrong, otherwise of the one shown; the empty ones left out."""
    wrong = next((record for record in cell.attempts if record.verdict.status != "ok"), None)
    record = wrong or cell.shown
    if record is None:
        return []
    folder = cell.folders[record.block] / "logs"
    paths = sorted(path for path in folder.glob("*.log") if path.name not in _LEFT_OUT)
    tails = [(path.name, *tail(path, longest)) for path in paths]
    return [LogTail(name, record.block, text, is_cut) for name, text, is_cut in tails if text.strip()]


def tail(path: Path, most: int) -> tuple[str, bool]:
    """A file's last `most` bytes as whole lines, and whether that is not all of it. A control character is a �."""
    with path.open("rb") as log:
        size = log.seek(0, os.SEEK_END)
        log.seek(max(0, size - most))
        text = log.read().decode("utf-8", "replace")
    is_cut = size > most
    if is_cut and "\n" in text.rstrip("\n"):
        text = text.partition("\n")[2]
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "�" for sign in text), is_cut
