"""When blocks are enough."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner import bench as benching
from runner.analysis.adaptive import is_tight
from runner.analysis.summary import summarise
from runner.bench import stop_rule
from runner.matrix.expansion import expand
from runner.plan import make_plan
from runner.results.schema import Verdict
from tests.matrix.examples import make_matrix
from tests.synthetic import models, write_run


def few() -> list[Any]:
    return [model for model in models() if model.id.startswith("pg-uwsgi")]


def test_intervals_are_tight_where_there_are_blocks_enough(tmp_path: Path) -> None:
    run = write_run(tmp_path, few(), blocks=5)
    half_widths = [
        ratio.high / ratio.value - 1
        for ratio in summarise(run).ratios
        if ratio.metric == "throughput_rps" and ratio.value and ratio.high
    ]
    assert len(half_widths) == 3
    assert is_tight(run, max(half_widths) + 1e-6)
    assert not is_tight(run, max(half_widths) - 1e-6)


def test_one_block_has_no_interval_and_none_no_comparison(tmp_path: Path) -> None:
    assert not is_tight(write_run(tmp_path / "one", few(), blocks=1), 0.99)


def test_a_cell_that_always_fails_is_not_waited_for(tmp_path: Path) -> None:
    first, *rest = few()
    failed = {block: Verdict(status="failed", reason="why") for block in range(1, 6)}
    broken = [first, *(replace(model, verdicts=failed) for model in rest)]
    assert is_tight(write_run(tmp_path, broken, blocks=5), 0.01)


def test_the_run_is_told_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def tight(_: object, until: float) -> bool:
        asked.append(until)
        return True

    monkeypatch.setattr(benching, "is_tight", tight)
    matrix = make_matrix({"database": ["pg"], "server": ["sync"], "connection": ["forever"]}, blocks={"min": 3})
    plan = make_plan(expand(matrix), matrix, seed=1)
    run = write_run(tmp_path, few(), blocks=1)
    enough = stop_rule(plan, run)
    assert [enough(block) for block in (1, 2, 3)] == [False, False, True]
    assert asked == [0.05]
    assert not stop_rule(replace(plan, adaptive=None), run)(3)


def test_the_summary_counts_the_blocks_that_there_were(tmp_path: Path) -> None:
    run = write_run(tmp_path, few(), blocks=3)
    record = run.run().model_copy(update={"blocks": 12, "adaptive": True})
    (run.path / "run.json").write_text(record.model_dump_json())
    summary = summarise(run)
    assert summary.run.blocks == 3
    assert {cell.blocks.planned for cell in summary.cells if cell.blocks} == {3}
