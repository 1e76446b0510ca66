"""A cell beside its reference: log-ratios inside blocks, a t interval over blocks.

Windows of one round ran within seconds of each other, so pairing them takes the host's drift out of the
difference (the duet idea: Bulej et al., "Duet Benchmarking", ICPE 2020). The unit is the block, never the
request or the window: blocks start everything anew, windows of one block share their luck.
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
RATIO_METRICS = (
    "throughput_rps",
    "latency_ms.p50",
    "latency_ms.p95",
    "resources.app.cpu_seconds_per_request",
)


@dataclass(frozen=True)
class Interval:
    """Mean of log-ratios over `n` blocks with half its t interval; None, like `detectable`, for one block."""

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
    return Interval(mean, t_confidence * standard_error, math.expm1((t_confidence + t_power) * standard_error), n)


class Comparison:
    """Every cell's windows laid beside each other, round by round, ready to be compared in pairs.

    `windows` as `windows_frame` makes it, of attempts that are ok alone.
    """

    def __init__(self, windows: pd.DataFrame) -> None:
        self._logs = {metric: _log_table(windows, metric) for metric in RATIO_METRICS}
        silent = windows[windows["successes"] <= 0]
        #: Cells that answered nothing well in some window: no ratio can be had of them.
        self._silent = {
            str(row["cell"]): f"no request answered well in window {row['round'] + 1} of block {row['block']}"
            for _, row in silent.iloc[::-1].iterrows()
        }

    def log_ratios(self, cell: str, reference: str, metric: str) -> "pd.Series[float]":
        """One log-ratio for each block in which both ran, from the rounds that both have."""
        logs = self._logs[metric]
        if cell not in logs or reference not in logs:
            return pd.Series(dtype=float)
        return (logs[cell] - logs[reference]).dropna().groupby(level="block").mean()

    def ratio(self, cell: str, reference: str, metric: str) -> Ratio:
        """The ratio with its interval, or none and the reason."""
        for name in (cell, reference):
            if name in self._silent:
                return _no_ratio(cell, reference, metric, f"{name}: {self._silent[name]}")
        log_ratios = self.log_ratios(cell, reference, metric)
        if log_ratios.empty:
            return _no_ratio(cell, reference, metric, "no block in which both have windows that count")
        if not np.isfinite(log_ratios).all():
            return _no_ratio(cell, reference, metric, "too small to measure")
        return _ratio(cell, reference, metric, t_interval(log_ratios.to_list()))

    def with_references(self, cells: Iterable[CellRecord]) -> list[Ratio]:
        """Every cell that has a reference other than itself, in every metric."""
        return [
            self.ratio(cell.id, cell.reference, metric)
            for cell in cells
            if cell.reference is not None and cell.reference != cell.id
            for metric in RATIO_METRICS
        ]


def _log_table(windows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Logs of a metric, one column a cell.

    Rates and quantiles: one row a round of a block. CPU: one row a block, since the clock of processor time
    is too coarse for one window.
    """
    keys = ["block", "cell"] if metric == "resources.app.cpu_seconds_per_request" else ["block", "round", "cell"]
    columns = ["successes", "seconds", "driven_requests", "p50", "p95", "cpu_app"]
    sums = windows.groupby(keys)[columns].sum(min_count=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        if metric == "throughput_rps":
            values = sums["successes"] / sums["seconds"]
        elif metric == "resources.app.cpu_seconds_per_request":
            values = sums["cpu_app"] / sums["driven_requests"]
        else:
            values = sums[metric.removeprefix("latency_ms.")]
        return pd.DataFrame(np.log(values.unstack("cell")))


def _ratio(cell: str, reference: str, metric: str, interval: Interval) -> Ratio:
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
    """`1.84× (1.79–1.90)`, `not distinguishable (would have seen 6 %)`, `1.84× (one block: no interval)`."""
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
