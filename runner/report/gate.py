"""What a gate came to: for a terminal, for the CI's step page (Markdown), and as JUnit XML."""

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from rich.console import Console
from rich.text import Text

from runner.analysis.gate import GateResult, Look
from runner.errors import UsageError
from runner.report.comparison import escaped

_STYLES = {"pass": "bold green", "warn": "bold yellow", "underpowered": "bold yellow", "fail": "bold red"}
#: What XML 1.0 cannot hold, wherever it comes from.
_NOT_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")


@dataclass(frozen=True)
class Sides:
    """What was held against what, as it was asked for."""

    base: str
    candidate: str
    both: str

    @property
    def title(self) -> str:
        common = f" (both: {self.both})" if self.both else ""
        return f"{self.candidate or 'the matrix'} against {self.base or 'the matrix'}{common}"


def block_line(block: int, result: GateResult) -> str:
    """One line after a block: what is known by now."""
    look = result.confirmation or result.first
    seen = f": {look_text(look)}" if look else ""
    return f"block {block}{seen}; {result.reason}"


def look_text(look: Look) -> str:
    """`slower by 9.1 % (5.2 % to 12.8 %)`; a gain is slower by less than nothing, which is said as faster."""
    word = "slower" if look.slowdown >= 0 else "faster"
    return f"{word} by {abs(look.slowdown):.1%} (slow-down {look.low:.1%} to {look.high:.1%})".replace("%", " %")


def print_gate(result: GateResult, sides: Sides, console: Console) -> None:
    """The verdict, what it rests on, and what was left out."""
    console.print(Text(f"{_verdict(result)}: {sides.title}", _STYLES.get(result.verdict or "", "bold")))
    for line in _lines(result):
        console.print(Text(line))


def gate_markdown(result: GateResult, sides: Sides) -> str:
    """The same as Markdown."""
    lines = [f"## connbench gate: {_verdict(result)}", "", escaped(sides.title), ""]
    return "\n".join([*lines, *(f"- {escaped(line)}" for line in _lines(result))]) + "\n"


def append_step_summary(path: Path, result: GateResult, sides: Sides) -> None:
    """Adds the Markdown to what other steps have written."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(gate_markdown(result, sides) + "\n")
    except OSError as error:
        raise UsageError(f"$GITHUB_STEP_SUMMARY: {path} cannot be written: {error.strerror}") from error


def write_junit(path: Path, result: GateResult, sides: Sides, seconds: float) -> None:
    """One test case: a failure for `fail`, an error where there is no verdict, skipped where nothing could be told."""
    outcomes = {"fail": "failure", "underpowered": "skipped", None: "error"}
    outcome = outcomes.get(result.verdict)
    counts = {f"{name}s" if name != "skipped" else name: str(int(outcome == name)) for name in outcomes.values()}
    suite = ET.Element("testsuite", {"name": "connbench gate", "tests": "1", **counts, "time": f"{seconds:.1f}"})
    case = ET.SubElement(
        suite, "testcase", {"classname": "connbench.gate", "name": _xml(sides.title), "time": f"{seconds:.1f}"}
    )
    if outcome is not None:
        ET.SubElement(case, outcome, {"message": _xml(result.reason)})
    ET.SubElement(case, "system-out").text = _xml("\n".join([_verdict(result), *_lines(result)]))
    try:
        ET.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise UsageError(f"--junit: {path} cannot be written: {error.strerror}") from error


def _verdict(result: GateResult) -> str:
    return result.verdict or "no verdict"


def _lines(result: GateResult) -> list[str]:
    lines = [f"{result.reason[0].upper()}{result.reason[1:]}."]
    for name, look in (("first look", result.first), ("confirmation", result.confirmation)):
        if look is not None:
            spread = f"{len(look.blocks)} blocks, standard deviation {look.spread:.3f}"
            lines.append(f"Throughput, {name}: {look_text(look)}, {spread}; the limit is {result.limit:.1%}")
    if result.cpu is not None:
        interval = (
            ""
            if result.cpu.low is None or result.cpu.high is None
            else f" ({result.cpu.low:.3f} to {result.cpu.high:.3f})"
        )
        lines.append(f"The app's CPU time a request, not gated: {result.cpu.value:.3f}×{interval}")
    lines += [f"Left out: block {out.block}, {out.side}: {out.status}: {out.reason}" for out in result.left_out]
    return lines


def _xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
