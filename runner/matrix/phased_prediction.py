"""What a cell's own phases change in the connections that it should hold."""

from dataclasses import replace

from runner.matrix.cells import Cell, Prediction
from runner.matrix.phases import CUTTING_FAULTS
from runner.stacks.pools import Demand


def with_phases(prediction: Prediction, cell: Cell) -> Prediction:
    """The prediction with what faults and commands add; as it is where the cell has no phases.

    A command is one process with one thread that asks the database.
    """
    if not cell.phases:
        return prediction
    commands = sum(phase.command is not None for phase in cell.phases)
    cuts = sum(phase.fault in CUTTING_FAULTS for phase in cell.phases)
    demand = Demand(1, "threads", cell.planned_seconds, cell.connection.conn_max_age != 0)
    each = cell.connection.pool.bounds(demand).most if cell.connection.pool else 1
    words = [f"{_counted(cuts, 'fault')} after which connections are opened anew"] if cuts else []
    if commands:
        words.append(f"{_counted(commands, 'command')} × {each}")
    # New connections may be there before the server has seen the end of those that were cut.
    times = 2 if cuts else 1

    def widened(bound: int | None, times: int) -> int | None:
        own = bound if cell.serves else 0
        return None if own is None else own * times + commands * each

    return replace(
        prediction,
        min=0,
        max=widened(prediction.max, times),
        formula="; ".join([prediction.formula, *words] if cell.serves else words),
        opened_per_request=None if cuts or commands else prediction.opened_per_request,
        opened_max=None if commands else widened(prediction.opened_max, 1 + cuts),
        lingering_min=0,
        lingering_max=widened(prediction.lingering_max, times),
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"
