"""What is kept of a measurement: its results, and what they belong to. One JSON file each, committed."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from runner.host import describe_host, describe_versions
from runner.models import Strict
from runner.results.schema import SCHEMA_VERSION, HostRecord
from runner.results.store import now_utc, read_json, write_json
from runner.stacks.environment import AppEnvironment
from runner.stacks.versions import Recipe

FOLDER = Path(__file__).parent


class Measurement(Strict):
    """benchmarks/<name>.json"""

    schema_version: int = SCHEMA_VERSION
    name: str
    command: str
    measured_at: str
    host: HostRecord
    versions: Mapping[str, str]
    results: Mapping[str, Any]


def keep(
    name: str,
    results: Mapping[str, Any],
    command: str,
    path: Path | None = None,
    environments: Mapping[Recipe, AppEnvironment] | None = None,
) -> Path:
    """Writes what was measured just now, here; `path` is benchmarks/<name>.json unless told."""
    path = path or FOLDER / f"{name}.json"
    measurement = Measurement(
        name=name,
        command=command,
        measured_at=now_utc(),
        host=describe_host(),
        versions=describe_versions(environments or {}),
        results=results,
    )
    write_json(path, measurement)
    return path


def read_kept(folder: Path = FOLDER) -> dict[str, Measurement]:
    """The measurements of a folder by name; of two with one name the later."""
    found: Iterable[Measurement] = (read_json(path, Measurement) for path in sorted(folder.glob("*.json")))
    return {one.name: one for one in sorted(found, key=lambda one: one.measured_at)}
