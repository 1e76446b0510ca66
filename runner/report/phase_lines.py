"""Faults and commands of a run in words, one line each."""

from runner.analysis.model import CommandSummary, FaultNumbers, Summary
from runner.report.wording import counted, middle, three_digits, whole


def phase_lines(summary: Summary) -> list[str]:
    """What each fault did to the requests and how each command ended, cell by cell."""
    lines = []
    for cell in summary.cells:
        if cell.metrics is not None:
            lines += [f"{cell.id}: {_recovery(one)}" for one in cell.metrics.recovery.faults]
            lines += [f"{cell.id}: {_command(one)}" for one in cell.metrics.commands.each]
    return lines


def _recovery(one: FaultNumbers) -> str:
    failed, requests = whole(middle(one.failed_requests)), whole(middle(one.requests))
    text = f"{one.fault} ({three_digits(middle(one.seconds))} s): {failed} of {requests} requests failed"
    if one.seconds_to_first_success is not None:
        text += f", first success after {three_digits(middle(one.seconds_to_first_success))} s"
    if one.seconds_to_steady is None:
        return f"{text}, not steady again"
    return f"{text}, steady after {three_digits(middle(one.seconds_to_steady))} s"


def _command(one: CommandSummary) -> str:
    if not one.failed:
        return f"{one.command}: ended well"
    share = "" if one.runs == 1 else f" in {one.failed} of {counted(one.runs, 'run')}"
    return f"{one.command}: failed{share}: {one.example}"
