"""Where a package comes from: an index, or an address of its own."""

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from pypi_simple import PYPI_SIMPLE_ENDPOINT

from runner import waiting
from runner.provision.commands import run_command
from runner.provision.service import Command

PYPI = frozenset({"pypi.org", "pypi.python.org"})
#: As Poetry, uv and Pipenv name what a git repository is taken at, the most exact first.
REFERENCES = ("resolved_reference", "rev", "tag", "branch", "ref", "reference")
#: What lies on this disk, as they name it.
LOCAL = frozenset({"path", "workspace", "virtual", "directory"})
_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "package-index"
#: `git@host:path`, which an address writes otherwise.
_SCP = re.compile(r"([\w.-]+@[\w.-]+):(?!/)(.+)")

#: A wheel, or the archive of a package's source; extras, a marker or a fragment may follow.
_ARCHIVE = re.compile(r"\.(whl|zip|tgz|tar\.\w+)(?=$|[\s\[;#\"'])", re.IGNORECASE)


def checked(text: str) -> str:
    """A requirement as pip reads it; ValueError where it is none."""
    try:
        return str(Requirement(text))
    except InvalidRequirement as error:
        raise ValueError(f"{text!r} is no requirement: {error}") from error


def address_of(table: Mapping[str, Any]) -> str:
    """What a table of Poetry's, uv's or Pipenv's says of a package that no index has; empty where it says nothing.

    As in https://pip.pypa.io/en/stable/topics/vcs-support/
    """
    part = f"#subdirectory={table['subdirectory']}" if table.get("subdirectory") else ""
    if "git" in table:
        url = _SCP.sub(r"ssh://\1/\2", table["git"].removeprefix("git+"))
        reference = next((f"@{table[name]}" for name in REFERENCES if table.get(name)), "")
        return f"git+{url}{reference}{part}"
    url = table.get("url") or table.get("file") or ""
    return f"{url}{part}" if "://" in url else ""


def is_local(table: Mapping[str, Any]) -> bool:
    """Whether a package lies on this disk, as a part of the project: it is there without being built."""
    # Pipenv's `editable` is a switch, the path of uv's lock is none.
    return bool(LOCAL & set(table)) or isinstance(table.get("editable"), str) or "://" not in table.get("file", "://")


def refuse_archive(text: str) -> None:
    """ValueError where a requirement is a package's file on this disk: unlike a folder, it is not just there."""
    if "://" not in text and (found := _ARCHIVE.search(text)):
        raise ValueError(
            f"{text[: found.end()]!r} is a package's file on this disk, which is not installed here: write the address "
            "or the version by which it can be had, or name another file (--dependencies FILE, `dependencies:` in "
            "app.yaml)"
        )


def package_indexes() -> list[str]:
    """The addresses of the indexes that uv installs from here, as its and pip's own settings have them."""
    return list(_indexes(tuple(sorted(os.environ.items()))))


@cache
def _indexes(environ: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    command = Command([str(_SCRIPT)], dict(environ), _SCRIPT.parents[1])
    said = run_command(command, limit=waiting.VERSION_COMMAND, what="scripts/package-index")
    return tuple(said.split()) or (PYPI_SIMPLE_ENDPOINT,)


def refuse_index(url: str) -> None:
    """ValueError, with the way out, for an index that uv does not ask here.

    Another index may have nothing of that name, or a stranger's package, which would be run.
    """
    if urlsplit(url).hostname in PYPI or _place(url) in map(_place, package_indexes()):
        return
    raise ValueError(
        f"packages come from {_place(url)}, which is not asked here, and what another index has by their names may be "
        "somebody else's. Set uv's own variable (UV_INDEX=ADDRESS before each command), or name a file whose packages "
        "are all public (--dependencies FILE, `dependencies:` in app.yaml)"
    )


def _place(url: str) -> str:
    """Without who asks, which may be a secret, and however it is spelt."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2].lower()}{parts.path.rstrip('/')}"
