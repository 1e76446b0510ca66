"""What uv goes by for a pyproject.toml: its own table there, a uv.toml, and the workspace that the project is part of.

https://docs.astral.sh/uv/concepts/projects/workspaces/ and https://docs.astral.sh/uv/concepts/configuration-files/
"""

import tomllib
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any


def workspace_of(path: Path) -> Path | None:
    """The pyproject.toml at the root of the workspace that another pyproject.toml is a member of.

    None where it is in none; ValueError where one above cannot be read.
    """
    folder = path.resolve().parent
    for place in folder.parents:
        root = place / "pyproject.toml"
        if root.is_file() and (workspace := _own_table(root).get("workspace")) is not None:
            named, left_out = (
                any(fnmatch(str(folder.relative_to(place)), str(PurePosixPath(pattern))) for pattern in patterns)
                for patterns in (workspace.get("members", []), workspace.get("exclude", []))
            )
            return root if named and not left_out else None
    return None


def uv_table(path: Path) -> Mapping[str, Any]:
    """`[tool.uv]` as it holds for a pyproject.toml: settings are the workspace's, sources and indexes are both's.

    A name that both have is the member's.
    """
    own, root = _table(path), workspace_of(path)
    if root is None:
        return own
    above = _table(root)
    return {
        **own,
        **above,
        "index": [*above.get("index", []), *own.get("index", [])],
        "sources": {**above.get("sources", {}), **own.get("sources", {})},
    }


def _table(path: Path) -> Mapping[str, Any]:
    """With what a uv.toml beside it says instead."""
    beside = path.with_name("uv.toml")
    return {**_own_table(path), **(_content(beside) if beside.is_file() else {})}


def _own_table(path: Path) -> Mapping[str, Any]:
    table: Mapping[str, Any] = _content(path).get("tool", {}).get("uv", {})
    return table


def _content(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
