"""A gate's verdict in words, as Markdown for the CI's step page, and as JUnit XML."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from runner.analysis.gate import CpuRatio, GateResult, GateVerdict, LeftOut, Look
from runner.errors import UsageError
from runner.report.gate import Sides, append_step_summary, block_line, gate_markdown, write_junit

SIDES = Sides("", "django=5.2,pool=<x>|y\x1b", "server=uwsgi")
LOOK = Look(blocks=[1, 2, 3], slowdown=0.091, low=0.061, high=0.12, spread=0.02)


def result(verdict: GateVerdict | None) -> GateResult:
    return GateResult(
        limit=0.05,
        verdict=verdict,
        reason="slower by more than 5%",
        first=LOOK,
        confirmation=LOOK.model_copy(update={"blocks": [4, 5, 6, 7]}),
        cpu=CpuRatio(value=1.1, low=1.05, high=1.15),
        left_out=[LeftOut(block=8, side="base", status="invalid", reason="counts | do not agree")],
    )


def test_markdown_says_it_all() -> None:
    text = gate_markdown(result("fail"), SIDES)
    assert text.startswith("## connbench gate: fail\n")
    assert "against the matrix (both: server=uwsgi)" in text
    assert "first look: slower by 9.1 % (slow-down 6.1 % to 12.0 %), 3 blocks" in text
    assert "confirmation: slower by 9.1 % (slow-down 6.1 % to 12.0 %), 4 blocks" in text
    assert "the limit is 5.0%" in text
    assert "1.100× (1.050 to 1.150)" in text
    assert "Left out: block 8, base: invalid: counts \\| do not agree" in text
    assert "\\<x\\>\\|y" in text


def test_a_gain_is_called_one() -> None:
    gain = LOOK.model_copy(update={"slowdown": -0.1, "low": -0.12, "high": -0.08})
    line = block_line(3, GateResult(limit=0.05, verdict="pass", reason="fine", first=gain))
    assert line == "block 3: faster by 10.0 % (slow-down -12.0 % to -8.0 %); fine"


def test_the_step_page_keeps_what_other_steps_wrote(tmp_path: Path) -> None:
    page = tmp_path / "summary.md"
    page.write_text("before\n")
    append_step_summary(page, result("pass"), SIDES)
    assert page.read_text().startswith("before\n## connbench gate: pass\n")
    with pytest.raises(UsageError, match="GITHUB_STEP_SUMMARY"):
        append_step_summary(tmp_path / "no" / "summary.md", result("pass"), SIDES)


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [("pass", None), ("warn", None), ("fail", "failure"), ("underpowered", "skipped"), (None, "error")],
)
def test_junit(tmp_path: Path, verdict: GateVerdict | None, outcome: str | None) -> None:
    path = tmp_path / "gate.xml"
    write_junit(path, result(verdict), SIDES, 12.34)
    suite = ET.parse(path).getroot()
    counts = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    expected = {"failure": "failures", "error": "errors", "skipped": "skipped", None: None}[outcome]
    assert counts == {"tests": 1, "failures": 0, "errors": 0, "skipped": 0, **({expected: 1} if expected else {})}
    (case,) = suite
    assert [part.tag for part in case] == [*([outcome] if outcome else []), "system-out"]
    assert case.attrib["time"] == "12.3"
