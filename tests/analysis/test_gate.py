"""The gate's verdicts: how often they are wrong on blocks with a known truth, and what they make of a run's folder."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from runner.analysis.gate import (
    FEWEST_CONFIRMING,
    FIRST_LOOK,
    IN_VAIN,
    LAST_LOOK,
    MOST_CONFIRMING,
    bounds,
    confirming_blocks,
    decide,
    judge_gate,
)
from runner.results.schema import Verdict
from runner.results.store import RunFolder
from tests.synthetic import Model, models, write_run

GATES = 500
LIMIT = 0.05


def verdicts(loss: float, spread: float, limit: float = LIMIT) -> dict[str, float]:
    """How often each verdict comes out where the truth is `loss`."""
    random = np.random.default_rng(20251121)
    blocks = random.normal(-math.log1p(-loss), spread, (GATES, LAST_LOOK + MOST_CONFIRMING))
    found = Counter(decide(row.tolist(), limit).verdict for row in blocks)
    assert None not in found, "as many blocks as both looks can take always come to a verdict"
    return {str(name): count / GATES for name, count in found.items()}


@pytest.mark.parametrize("spread", [0.015, 0.03, 0.06])
def test_false_alarms_at_exactly_the_limit(spread: float) -> None:
    assert verdicts(LIMIT, spread).get("fail", 0) < 0.03


@pytest.mark.parametrize("spread", [0.015, 0.03, 0.06])
def test_no_alarm_where_nothing_differs(spread: float) -> None:
    assert verdicts(0, spread).get("fail", 0) < 0.01


def test_a_tenth_lost_is_found_nine_times_of_ten() -> None:
    assert verdicts(0.10, 0.03)["fail"] > 0.9
    assert verdicts(0.10, 0.015)["fail"] > 0.99


def test_a_tenth_lost_is_found_in_few_blocks() -> None:
    random = np.random.default_rng(1)
    rows = random.normal(-math.log(0.9), 0.03, (100, LAST_LOOK + MOST_CONFIRMING)).tolist()
    needed = [next(n for n in range(len(row) + 1) if decide(row[:n], LIMIT).verdict is not None) for row in rows]
    assert np.mean(needed) < 12
    assert np.quantile(needed, 0.95) < 18


def test_what_is_the_same_passes_soon() -> None:
    assert verdicts(0, 0.02)["pass"] > 0.98
    assert decide([0.0, 0.001, -0.001], LIMIT).verdict == "pass"


def test_noise_that_drowns_the_limit_is_said_to() -> None:
    found = verdicts(0, 0.3)
    assert found["underpowered"] > 0.5
    assert found.get("fail", 0) < 0.01


def test_more_blocks_never_change_a_verdict() -> None:
    random = np.random.default_rng(5)
    for row in random.normal(0.08, 0.03, (50, LAST_LOOK + MOST_CONFIRMING)).tolist():
        decided = [decide(row[:n], LIMIT) for n in range(len(row) + 1)]
        first = next(n for n, one in enumerate(decided) if one.verdict is not None)
        assert {(one.verdict, one.first, one.confirming) for one in decided[first:]} == {
            (decided[first].verdict, decided[first].first, decided[first].confirming)
        }


@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_nothing_is_said_before_the_first_look(blocks: int) -> None:
    assert decide([0.5] * blocks, LIMIT).verdict is None


def test_the_confirmation_rests_on_fresh_blocks_alone() -> None:
    slow = [0.20, 0.21, 0.19]
    assert decide(slow, LIMIT).verdict is None
    wanted = confirming_blocks(bounds(slow), LIMIT)
    assert decide([*slow, *[0.0, 0.01] * wanted][: 3 + wanted], LIMIT).verdict == "warn"
    sure = decide([*slow, *[0.2, 0.19] * wanted][: 3 + wanted], LIMIT)
    assert (sure.verdict, sure.first, sure.confirming) == ("fail", 3, wanted)


def test_more_noise_asks_for_more_fresh_blocks() -> None:
    sizes = [confirming_blocks(bounds([0.11, 0.11 - s, 0.11 + s]), LIMIT) for s in (0.001, 0.02, 0.04, 0.1)]
    assert sizes == sorted(sizes)
    assert FEWEST_CONFIRMING <= sizes[0] < sizes[-1] == MOST_CONFIRMING


def sides(factor: float, **of_candidate: Any) -> list[Model]:
    """Base, and a candidate at `factor` of its speed."""
    first = replace(models()[0], name="base")
    return [first, replace(first, name="candidate", rps=first.rps * factor, **of_candidate)]


def run_of(tmp_path: Path, factor: float, blocks: int, **of_candidate: Any) -> RunFolder:
    return write_run(tmp_path, sides(factor, **of_candidate), blocks=blocks)


def not_ok(status: Literal["failed", "invalid"], blocks: int, first: int = 1) -> dict[int, Verdict]:
    return {block: Verdict(status=status, reason="because of this") for block in range(first, first + blocks)}


def test_a_slow_candidate_fails_and_a_quick_one_passes(tmp_path: Path) -> None:
    slow = judge_gate(run_of(tmp_path / "slow", 0.7, 20), LIMIT, finished=True)
    assert slow.verdict == "fail"
    assert slow.first is not None
    assert slow.confirmation is not None
    assert set(slow.first.blocks).isdisjoint(slow.confirmation.blocks)
    assert 0.25 < slow.first.low < slow.first.slowdown < slow.first.high < 0.35
    assert slow.cpu is not None
    quick = judge_gate(run_of(tmp_path / "quick", 1.3, 4), LIMIT, finished=True)
    assert quick.verdict == "pass"
    assert quick.first is not None
    assert quick.first.slowdown < -0.25
    assert quick.confirmation is None


def test_a_block_that_does_not_count_is_left_out_with_its_reason(tmp_path: Path) -> None:
    folder = run_of(tmp_path, 1.0, 6, verdicts=not_ok("invalid", 2))
    result = judge_gate(folder, LIMIT, finished=True)
    assert [(out.block, out.side, out.status, out.reason) for out in result.left_out] == [
        (block, "candidate", "invalid", "because of this") for block in (1, 2)
    ]
    assert result.first is not None
    assert min(result.first.blocks) == 3


@pytest.mark.parametrize("blocks", [1, FIRST_LOOK, 5])
def test_no_block_that_counts_is_no_crash(tmp_path: Path, blocks: int) -> None:
    folder = run_of(tmp_path, 1.0, blocks, verdicts=not_ok("invalid", blocks))
    assert judge_gate(folder, LIMIT, finished=False).verdict is None
    result = judge_gate(folder, LIMIT, finished=True)
    assert (result.verdict, result.first, result.cpu) == ("underpowered", None, None)
    assert len(result.left_out) == blocks


def test_blocks_that_never_count_are_not_tried_for_ever(tmp_path: Path) -> None:
    folder = run_of(tmp_path, 1.0, IN_VAIN, verdicts=not_ok("invalid", IN_VAIN))
    result = judge_gate(folder, LIMIT, finished=False)
    assert (result.verdict, len(result.left_out)) == ("underpowered", IN_VAIN)


def test_a_candidate_that_never_runs_fails(tmp_path: Path) -> None:
    folder = run_of(tmp_path, 1.0, FIRST_LOOK, verdicts=not_ok("failed", FIRST_LOOK))
    result = judge_gate(folder, LIMIT, finished=False)
    assert result.verdict == "fail"
    assert "the candidate failed in every block: because of this" in result.reason


def test_a_run_without_any_attempt_has_no_verdict(tmp_path: Path) -> None:
    folder = write_run(tmp_path, sides(1.0), blocks=0)
    assert judge_gate(folder, LIMIT, finished=False).verdict is None
    assert judge_gate(folder, LIMIT, finished=True).verdict == "underpowered"
