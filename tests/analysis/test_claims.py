"""Claims judged on made-up runs: each verdict, and what a claim without figures is."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.analysis.claims import judge_claim
from runner.analysis.model import Summary
from runner.analysis.summary import summarise
from runner.matrix.spec import ClaimSpec, Condition, Expectation
from runner.results.schema import Verdict
from tests.synthetic import command, models, phased, write_run

NUMBER = {"number": 7, "says": "It is so.", "page": "A page", "url": "https://example.org", "how": "By trying."}


def bound(where: dict[str, Any], metric: str, **bounds: float) -> Expectation:
    return Expectation(where=where, metric=metric, **bounds)


def claim(*conditions: tuple[str, Sequence[Expectation]]) -> ClaimSpec:
    made = [Condition(says=says, expect=list(expect)) for says, expect in conditions]
    return ClaimSpec.model_validate({**NUMBER, "packages": ["django"], "conditions": made})


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return summarise(write_run(tmp_path_factory.mktemp("run"), models(), blocks=2))


ONE_EACH = bound({"connection": "per-request"}, "connections.opened_per_request", at_least=0.9, at_most=1.1)
FEW = bound({"connection": "forever"}, "connections.lingering", at_least=1)
WRONG = bound({"connection": "per-request"}, "connections.lingering", at_least=1)


def test_it_holds_if_every_bound_does(summary: Summary) -> None:
    judged = judge_claim(claim(("never asked", [WRONG])), [ONE_EACH, FEW], summary)
    assert (judged.verdict, judged.condition, judged.number) == ("holds", "", 7)
    assert [finding.holds for finding in judged.findings] == [True, True]
    first = judged.findings[0]
    assert first.bound == "at least 0.9 and at most 1.1"
    assert all("per-request" in name for name in first.cells)
    assert first.low is not None
    assert first.high is not None
    assert 0.9 <= first.low <= first.high <= 1.1
    assert judged.versions[0].startswith("PostgreSQL")


def test_it_holds_with_the_first_condition_whose_bounds_all_do(summary: Summary) -> None:
    conditions = (("on Mondays", [ONE_EACH, WRONG]), ("with persistence", [FEW]), ("always", [ONE_EACH]))
    judged = judge_claim(claim(*conditions), [ONE_EACH, WRONG], summary)
    assert (judged.verdict, judged.condition) == ("holds with a condition", "with persistence")
    assert [finding.holds for finding in judged.findings] == [True, False]


def test_it_does_not_hold(summary: Summary) -> None:
    judged = judge_claim(claim(("on Mondays", [WRONG])), [FEW, WRONG], summary)
    assert (judged.verdict, judged.condition) == ("does not hold", "")


def test_the_worst_cell_and_block_decide(summary: Summary) -> None:
    cells = [cell for cell in summary.cells if cell.metrics and cell.metrics.throughput_rps]
    rates = [cell.metrics.throughput_rps for cell in cells if cell.metrics and cell.metrics.throughput_rps]
    low, high = min(rate.low for rate in rates), max(rate.high for rate in rates)
    for bounds, verdict in (
        ({"at_least": low, "at_most": high}, "holds"),
        ({"at_least": low + 0.01}, "does not hold"),
        ({"at_most": high - 0.01}, "does not hold"),
    ):
        assert judge_claim(claim(), [bound({}, "throughput_rps", **bounds)], summary).verdict == verdict


@pytest.mark.parametrize("where", [{"connection": "nobody's"}, {}])
def test_what_was_not_measured_is_neither(where: dict[str, Any], summary: Summary) -> None:
    missing = bound(where, "recovery.failed_requests", at_most=0)
    judged = judge_claim(claim(("on Mondays", [missing])), [missing], summary)
    assert judged.verdict == "not measured"
    assert judged.findings[0].low is None
    assert judge_claim(claim(), [], summary).verdict == "not measured"


def test_a_cell_that_failed_is_named(tmp_path: Path) -> None:
    bad = replace(models()[0], verdicts={1: Verdict(status="failed", reason="it did not come up")})
    summary = summarise(write_run(tmp_path, [bad, *models()[1:]], blocks=1))
    judged = judge_claim(claim(), [bound({}, "connections.opened", at_least=0)], summary)
    assert judged.verdict == "not measured"
    assert judged.condition.endswith("failed: it did not come up")


def test_commands_and_faults_can_be_bounded(tmp_path: Path) -> None:
    cells = [replace(cell, commands=(command(1),)) for cell in phased(models()[:1])]
    summary = summarise(write_run(tmp_path, cells, blocks=1))
    bounds = [bound({}, "commands.failed", at_least=1), bound({}, "recovery.failed_requests", at_most=3)]
    assert judge_claim(claim(), bounds, summary).verdict == "holds"
