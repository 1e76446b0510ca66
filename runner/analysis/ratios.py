"""A cell beside its reference: log-ratios inside blocks, a t interval over blocks.

Windows of one round ran within seconds of each other, so pairing them takes the host's drift out of the
difference (the duet idea: Bulej et al., "Duet Benchmarking", ICPE 2020). The unit is the block, never the request
or the window: blocks start everything anew, windows of one block share their luck.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from runner.analysis.model import Ratio
from runner.results.schema import CellRecord

CONFIDENCE = 0.95
#: The chance with which `detectable` would have been found.
POWER = 0.80

#: Metrics that are compared, in the order of the tables.
RATIO_METRICS = ("throughput_rps", "latency_ms.p50", "latency_ms.p95", "resources.app.cpu_seconds_per_request")


@dataclass(frozen=True)
class Interval:
    """Mean of log-ratios over `n` blocks with its t interval (None for one block) and what would have been found."""

    mean: float
    half_width: float | None
    detectable: float | None
    n: int


def t_interval(log_ratios: Sequence[float]) -> Interval:
    """Mean ± t(0.975, n−1) · s/√n.

    `detectable` is the minimum detectable effect exp((t(0.975, n−1) + t(0.80, n−1)) · s/√n) − 1 of Bloom,
    "Minimum Detectable Effects", Evaluation Review 19 (1995), on the log scale.
    """
    n = len(log_ratios)
    mean = float(np.mean(log_ratios))
    if n < 2:
        return Interval(mean, None, None, n)
    standard_error = float(np.std(log_ratios, ddof=1)) / math.sqrt(n)
    t_confidence = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2))
    t_power = float(stdtrit(n - 1, POWER))
    return Interval(
        mean, t_confidence * standard_error, math.expm1((t_confidence + t_power) * standard_error), n
    )


def block_log_ratios(windows: pd.DataFrame, cell: str, reference: str, metric: str) -> list[float]:
    """One log-ratio for each block in which both ran, from the rounds that both have.

    Rates and quantiles: the logs of each round's ratio, averaged. CPU: the block's sums, since the clock of
    processor time is too coarse for one window.
    """
    keys = ["block", "round"]
    paired = windows[windows["cell"] == cell].merge(
        windows[windows["cell"] == reference], on=keys, suffixes=("", "_reference")
    )
    blocks = paired.groupby("block")
    if metric == "resources.app.cpu_seconds_per_request":
        sums = blocks[["cpu_app", "cpu_app_reference", "driven_requests", "driven_requests_reference"]].sum()
        ratios = (sums["cpu_app"] / sums["driven_requests"]) / (
            sums["cpu_app_reference"] / sums["driven_requests_reference"]
        )
        return [float(value) for value in np.log(ratios)]
    if metric == "throughput_rps":
        ours = paired["successes"] / paired["seconds"]
        theirs = paired["successes_reference"] / paired["seconds_reference"]
    else:
        quantile = metric.removeprefix("latency_ms.")
        ours, theirs = paired[quantile], paired[f"{quantile}_reference"]
    logs = pd.Series(np.log(ours / theirs), index=paired.index)
    return [float(value) for value in logs.groupby(paired["block"]).mean()]


def ratio(windows: pd.DataFrame, cell: str, reference: str, metric: str) -> Ratio:
    """`windows` of attempts that are ok alone. Without success in some window there is no ratio, but a reason."""
    for name in (cell, reference):
        silent = windows[(windows["cell"] == name) & (windows["successes"] <= 0)]
        if not silent.empty:
            first = silent.iloc[0]
            where = f"window {int(first['round']) + 1} of block {int(first['block'])}"
            return _no_ratio(cell, reference, metric, f"{name} answered no request well in {where}")
    log_ratios = block_log_ratios(windows, cell, reference, metric)
    if not log_ratios:
        return _no_ratio(cell, reference, metric, "no block in which both have windows that count")
    if not np.isfinite(log_ratios).all():
        return _no_ratio(cell, reference, metric, "not measured in every block")
    interval = t_interval(log_ratios)
    value = math.exp(interval.mean)
    low = high = distinguishable = None
    if interval.half_width is not None:
        low, high = (math.exp(interval.mean + sign * interval.half_width) for sign in (-1, 1))
        distinguishable = not low <= 1 <= high
    return Ratio(
        cell=cell,
        reference=reference,
        metric=metric,
        value=value,
        low=low,
        high=high,
        n=interval.n,
        distinguishable=distinguishable,
        detectable=interval.detectable,
        text=ratio_text(value, low, high, interval.detectable),
    )


def ratio_text(value: float, low: float | None, high: float | None, detectable: float | None) -> str:
    """`1.84× (1.79–1.90)`, `not distinguishable (would have seen 6 %)` or `1.84× (one block: no interval)`."""
    if low is None or high is None or detectable is None:
        return f"{_figure(value)}× (one block: no interval)"
    if low <= 1 <= high:
        return f"not distinguishable (would have seen {_percent(detectable)})"
    return f"{_figure(value)}× ({_figure(low)}–{_figure(high)})"


def _percent(share: float) -> str:
    if share >= 10:
        return f"{1 + share:.0f}×"
    return f"{share * 100:.0f} %" if share >= 0.01 else f"{share * 100:.1f} %"


def _figure(value: float) -> str:
    """Three digits near 1, fewer far above, more far below."""
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _no_ratio(cell: str, reference: str, metric: str, reason: str) -> Ratio:
    return Ratio(
        cell=cell,
        reference=reference,
        metric=metric,
        value=None,
        low=None,
        high=None,
        n=0,
        distinguishable=None,
        detectable=None,
        text="no ratio",
        reason=reason,
    )


def all_ratios(windows: pd.DataFrame, cells: Iterable[CellRecord]) -> list[Ratio]:
    """Every cell that has a reference other than itself, in every metric."""
    return [
        ratio(windows, cell.id, cell.reference, metric)
        for cell in cells
        if cell.reference is not None and cell.reference != cell.id
        for metric in RATIO_METRICS
    ]
