"""What a bisection came to, on a screen."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from runner.analysis.bisection import Bisection, Finding, Step
from runner.report.gate import look_text
from runner.report.wording import few

_STYLES = {"found": "bold red", "narrowed": "bold red", "level": "bold green"}


def step_line(package: str, step: Step) -> str:
    """One line after a gate."""
    seen = f"{look_text(step.look)}; " if step.look else ""
    return f"{package} {step.version} is {step.outcome}: {seen}{step.reason}"


def print_bisection(bisection: Bisection, finding: Finding, console: Console) -> None:
    """Every version with what is known of it, and between which two the slow-down came."""
    console.print(Text(answer(bisection, finding), _STYLES.get(finding.verdict, "bold yellow")))
    table = Table(box=None)
    for heading in ("version", "outcome", "gate", "against the good one", "run"):
        table.add_column(heading, no_wrap=heading == "version")
    steps = {step.version: step for step in bisection.steps}
    for number, version in enumerate(bisection.versions):
        step = steps.get(version)
        if step is None:
            table.add_row(version, "" if number else "the good one")
        else:
            seen = look_text(step.look) if step.look else step.reason
            table.add_row(*map(Text, (version, step.outcome, step.gate or "", seen, step.run)))
    console.print(table)
    for passed in bisection.passed:
        console.print(Text(f"  left out: {passed.version}: {passed.reason}"))


def answer(bisection: Bisection, finding: Finding) -> str:
    """`django: slower by more than 5 % from 5.1.4 on; 5.1.3 was not`."""
    beyond = f"by more than {bisection.limit * 100:g} %"
    match finding.verdict:
        case "found":
            return f"{bisection.package}: slower {beyond} from {finding.slow} on; {finding.quick} was not"
        case "narrowed":
            names = few(list(finding.unknown), 6)
            return (
                f"{bisection.package}: slower {beyond} from {finding.slow} on or before; {finding.quick} was not; "
                f"between them: {names}: {finding.reason}"
            )
        case "unfinished":
            return f"{bisection.package}: no answer yet: {finding.reason}; the same command goes on from here"
    return f"{bisection.package}: {finding.verdict.replace('level', 'not distinguishable')}: {finding.reason}"
