"""Which of two settings is the simpler one: the first criterion on which they differ decides."""

from collections.abc import Sequence

from runner.analysis.budget import Budget
from runner.matrix.cells import Cell

#: What the simpler one of two has, in the order in which it counts; docs/advise.md has them with their reasons.
CRITERIA = (
    "its connections stay within the budget however many clients come",
    "no pooler to run",
    "no pool inside the app",
    "no greenlets",
    "fewer processes",
    "fewer threads",
    "a CONN_MAX_AGE nearer to Django's own",
    "fewer settings that are not the default",
)


def simplicity(cell: Cell, budget: Budget) -> tuple[int, ...]:
    """Sorts, the simplest first: one number for each of CRITERIA."""
    connection, age = cell.connection, cell.connection.conn_max_age
    return (
        int(not budget.bounded),
        int(cell.pooler is not None),
        int(connection.pool is not None),
        int(cell.server.cooperative),
        cell.server.process_count,
        cell.server.threads_per_process or 0,
        2 if age is None else int(age > 0),
        len(connection.model_fields_set) + len(cell.server.model_fields_set),
    )


def simpler_words(simple: Sequence[int], other: Sequence[int]) -> str:
    """What makes the first one simpler; empty where nothing does."""
    differing = (words for words, one, two in zip(CRITERIA, simple, other, strict=True) if one < two)
    return next(differing, "") if tuple(simple) < tuple(other) else ""
