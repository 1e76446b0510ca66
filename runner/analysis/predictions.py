"""What a cell was predicted to hold beside what each block saw."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from runner.errors import UsageError
from runner.matrix.cells import Prediction
from runner.matrix.prediction import as_predicted
from runner.results.schema import AttemptRecord, Connections

_PREDICTION = TypeAdapter(Prediction)


def read_prediction(predicted: Mapping[str, Any]) -> Prediction:
    """The prediction as run.json holds it; UsageError where that is broken."""
    try:
        return _PREDICTION.validate_python(predicted)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"run.json: cells.predicted.{where}: {first['msg']}") from error


def judge_prediction(prediction: Prediction, attempts: Sequence[AttemptRecord]) -> tuple[bool | None, str]:
    """Whether every attempt did as predicted (None: none counted its connections), and what did not."""
    surprises: dict[str, list[str]] = {}
    judged = False
    for record in attempts:
        seen = record.connections
        if seen is None:
            continue
        judged = True
        if note := "; ".join(_notes(prediction, seen)):
            surprises.setdefault(note, []).append(str(record.block))
    if not judged:
        return None, ""
    notes = (f"{note} (block{'s'[: len(blocks) - 1]} {', '.join(blocks)})" for note, blocks in surprises.items())
    return not surprises, "; ".join(notes)


def _notes(prediction: Prediction, seen: Connections) -> list[str]:
    """What is not as predicted, on the database's side and, where there is a pooler, on the clients'."""
    notes = []
    holds, note = as_predicted(prediction, seen.peak, seen.opened, seen.database_requests, seen.lingering)
    if not holds:
        notes.append(note)
    if prediction.clients is not None and seen.client is not None:
        side = seen.client
        holds, note = as_predicted(prediction.clients, side.peak, side.opened, seen.database_requests, side.lingering)
        if not holds:
            notes.append(f"clients: {note}")
    return notes
