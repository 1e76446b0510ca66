"""The answer's guarantee: the truly best cell is among the best and those level with it."""

import math

import numpy as np
import pandas as pd

from runner.analysis.answers import answers
from runner.analysis.model import Answer, CellMetrics, CellSummary, ConnectionNumbers, Number
from runner.analysis.ratios import Comparison
from tests.synthetic import prediction

CELLS = 6


def answer_of(rates: np.ndarray) -> Answer:
    """The throughput's answer of one run; `rates` by cell and block, one window each."""
    cell, block = (axis.ravel() for axis in np.indices(rates.shape))
    frame = pd.DataFrame({"cell": [f"c{n}" for n in cell], "block": block, "successes": rates.ravel()})
    frame = frame.assign(
        host="one", group="pg", round=0, seconds=1.0, driven_requests=100, p50=10.0, p95=20.0, cpu_app=1.0
    )
    medians = [float(np.median(of_cell)) for of_cell in rates]
    cells = [
        CellSummary(
            id=f"c{n}",
            status="ok",
            reason="",
            axes={"database": "pg"},
            metrics=CellMetrics(
                throughput_rps=Number(value=median, low=median, high=median, n=rates.shape[1]),
                connections=ConnectionNumbers(predicted=prediction(4)),
            ),
        )
        for n, median in enumerate(medians)
    ]
    return next(found for found in answers(Comparison(frame), cells) if found.metric == "throughput_rps")


def test_the_truly_best_is_left_out_in_one_run_of_twenty_at_most() -> None:
    """All are equal, so whichever is held to be the best was picked by luck: c0 must still be among those named."""
    random = np.random.default_rng(1)
    named = [answer_of(np.exp(6 + random.normal(0, 0.05, (CELLS, 4)))) for _ in range(300)]
    assert np.mean(["c0" in (found.cell, *found.level_with) for found in named]) >= 0.95
    assert all(found.detectable is not None and found.blocks == 4 for found in named if found.level_with)


def test_what_is_clearly_worse_is_not_named() -> None:
    truth = np.array([0.0, 0.0, -0.5, -0.5, -0.5, -0.5])[:, None]
    found = answer_of(np.exp(6 + truth + np.random.default_rng(2).normal(0, 0.02, (CELLS, 5))))
    assert {found.cell, *found.level_with} == {"c0", "c1"}
    assert 0 < (found.detectable or math.inf) < 0.25


def test_two_blocks_exclude_nothing() -> None:
    truth = np.arange(CELLS)[:, None]
    found = answer_of(np.exp(6 + truth + np.random.default_rng(3).normal(0, 1e-4, (CELLS, 2))))
    assert len(found.level_with) == CELLS - 1
    assert found.unknown == []
