"""matrix.yaml to a MatrixFile, or one UsageError that says everything that is wrong with it."""

from pathlib import Path
from typing import Any

from runner.errors import UsageError
from runner.matrix.checks import check_names
from runner.matrix.document import Document, Place, nearest, read_document, shown
from runner.matrix.metrics import METRICS
from runner.matrix.shape import validate
from runner.matrix.spec import Bound, MatrixFile
from runner.stacks.app import is_path, load_app

#: The folder that holds apps/ and locustfiles/.
PROJECT = Path(__file__).resolve().parents[2]


def read_matrix(path: Path, project: Path = PROJECT) -> MatrixFile:
    """Reads and checks a matrix file.

    Raises UsageError with all problems in the file's order, one a line: file, line, column, what was
    found, what is allowed and the nearest spelling.
    """
    document = read_document(path)
    if not isinstance(document.data, dict):
        at = document.value_at(())
        found = shown(document.data)
        raise UsageError(f"{path}:{at.line}:{at.column}: found {found}, allowed: a mapping that begins with `name:`")
    data = {key: value for key, value in document.data.items() if key != "expect"}
    if isinstance(data.get("claim"), dict):
        data["claim"] = {**data["claim"], "conditions": _conditions(document)}
    matrix: MatrixFile | None = validate(document, MatrixFile, data)
    expectations = _expectations(document, ("expect",), document.data.get("expect", []))
    check_names(document, project)
    document.refuse_if_wrong()
    assert matrix is not None, "a problem is noted for whatever does not validate"
    data = _with_paths({**data, "expect": expectations}, path)
    return MatrixFile.model_validate(data, strict=True)


def _with_paths(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """Paths as they are seen from anywhere; an app at a path is driven with its own traffic unless the matrix says."""
    load = {**data.get("load", {})}
    if is_path(load.get("profile", "")):
        load["profile"] = str((path.parent / load["profile"]).resolve())
    if not is_path(data.get("app", "")):
        return {**data, "load": load}
    app = load_app(str((path.parent / data["app"]).resolve()))
    if "profile" not in load and "load.profile" not in data["matrix"]:
        if not app.traffic:
            raise UsageError(f"{path}: load.profile is missing, and {app.source} names no `traffic:`")
        load["profile"] = app.traffic
    return {**data, "app": str(app.source), "load": load}


def _conditions(document: Document) -> object:
    """A claim's conditions with their bounds no longer flat; what has the wrong shape is left to the models."""
    raw = document.data["claim"].get("conditions", [])
    if not isinstance(raw, list):
        return raw
    return [
        {**one, "expect": _expectations(document, ("claim", "conditions", index, "expect"), one["expect"])}
        if isinstance(one, dict) and "expect" in one
        else one
        for index, one in enumerate(raw)
    ]


def _expectations(document: Document, place: Place, entries: object) -> list[dict[str, Any]]:
    """Flat entries, `{where: …, <metric>: {at_most: …}}`, as one Expectation for each metric."""
    if not isinstance(entries, list):
        document.at_value(place, f"found {shown(entries)}, allowed: a list")
        return []
    return [found for index, entry in enumerate(entries) for found in _flat_entry(document, (*place, index), entry)]


def _flat_entry(document: Document, place: Place, entry: object) -> list[dict[str, Any]]:
    if not isinstance(entry, dict):
        document.at_value(place, f"found {shown(entry)}, allowed: a mapping with `where:` and metrics")
        return []
    where = entry.get("where", {})
    if not isinstance(where, dict):
        document.at_value((*place, "where"), f"found {shown(where)}, allowed: a mapping of axes to values")
    metrics = [key for key in entry if key != "where"]
    if not metrics:
        document.at_value(place, f"found no metric; allowed: {', '.join(METRICS)}")
    expectations = []
    for metric in metrics:
        if metric not in METRICS:
            text = f"no such metric; allowed: where, {', '.join(METRICS)}{nearest(metric, ['where', *METRICS])}"
            document.at_key((*place, metric), text)
        bound = validate(document, Bound, entry[metric], (*place, metric))
        if bound is not None:
            expectations.append({"where": where, "metric": metric, **bound.model_dump()})
    return expectations
