"""What faults and commands came to, over a cell's blocks."""

from collections.abc import Sequence

import pandas as pd

from runner.analysis.model import CommandNumbers, CommandSummary, FaultNumbers, RecoveryNumbers
from runner.analysis.numbers import number
from runner.results.schema import AttemptRecord

_FIGURES = ("seconds", "requests", "failed_requests", "seconds_to_first_success", "seconds_to_steady")


def recovery_numbers(attempts: Sequence[AttemptRecord], frame: pd.DataFrame) -> RecoveryNumbers:
    """All faults together, and each of them in the order of the phases; `frame` has the same attempts as rows."""
    together = ("failed_requests", "seconds_to_first_success", "seconds_to_steady")
    return RecoveryNumbers(**{name: number(frame[f"recovery.{name}"]) for name in together}, faults=_faults(attempts))


def _faults(attempts: Sequence[AttemptRecord]) -> list[FaultNumbers]:
    return [
        FaultNumbers(
            fault=blocks[0].fault,
            position=position,
            **{name: number(pd.Series([getattr(one, name) for one in blocks], dtype=float)) for name in _FIGURES},
        )
        for position, blocks in enumerate(zip(*(record.recovery for record in attempts), strict=False))
    ]


def command_numbers(attempts: Sequence[AttemptRecord], frame: pd.DataFrame) -> CommandNumbers:
    """All commands together, and each in the order in which they ended."""
    return CommandNumbers(failed=number(frame["commands.failed"]), each=_commands(attempts))


def _commands(attempts: Sequence[AttemptRecord]) -> list[CommandSummary]:
    found = []
    for runs in zip(*(record.commands for record in attempts), strict=False):
        failed = [run for run in runs if run.exit_code != 0]
        found.append(
            CommandSummary(
                command=runs[0].command,
                beside=runs[0].beside,
                runs=len(runs),
                failed=len(failed),
                example=(failed or runs)[0].last_line,
            )
        )
    return found
