"""A cell beside its reference: log-ratios inside blocks, judged over blocks, one family for each metric.

Windows of one round ran within seconds of each other, so pairing them takes the host's drift out of the
difference (the duet idea: Bulej et al., "Duet Benchmarking", ICPE 2020). The unit is the block, never the
request or the window: blocks start everything anew, windows of one block share their luck.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from runner.analysis.chance import Chance
from runner.analysis.decisions import judge, no_judgement
from runner.analysis.inference import Estimate, paired, sign_flip
from runner.analysis.model import Judgement, Ratio
from runner.results.schema import CellRecord

#: Metrics that are compared, in the order of the tables.
RATIO_METRICS = (
    "throughput_rps",
    "latency_ms.p50",
    "latency_ms.p95",
    "resources.app.cpu_seconds_per_request",
)
#: Those that only runs have whose load is open, or whose rate was searched.
SERVICE, CAPACITY = "service_ms.p95", "capacity_rps"


class _Logs:
    """The logarithms of one metric: a row a round of a block (or a block), a column a cell.

    Pairs are compared by the thousand, so this is done on arrays.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self._cells = {str(name): table[name].to_numpy(float) for name in table}
        blocks = table.index.get_level_values("block")
        self._places, self._blocks = pd.factorize(blocks, sort=True)

    @property
    def cells(self) -> tuple[str, ...]:
        """Those that have a column."""
        return tuple(self._cells)

    def of(self, cell: str) -> NDArray[np.float64] | None:
        """A cell's column; None where it has none."""
        return self._cells.get(cell)

    def by_block(self, values: NDArray[np.float64]) -> "pd.Series[float]":
        """The mean over the rounds of each block that has any."""
        known = ~np.isnan(values)
        rounds = np.bincount(self._places[known], minlength=len(self._blocks))
        sums = np.bincount(self._places[known], weights=values[known], minlength=len(self._blocks))
        run = rounds > 0
        return pd.Series(sums[run] / rounds[run], index=pd.Index(self._blocks[run], name="block"))


_NOTHING = pd.Series(dtype=float)


class Comparison:
    """Every cell's windows laid beside each other, round by round, ready to be compared in pairs.

    `windows` as `windows_frame` makes it and `capacities` as `capacities_frame`, of attempts that are ok alone.
    """

    def __init__(self, windows: pd.DataFrame, capacities: pd.DataFrame | None = None) -> None:
        self._logs = {metric: _Logs(_log_table(windows, metric)) for metric in RATIO_METRICS}
        if "service_p95" in windows and windows["service_p95"].notna().any():
            self._logs[SERVICE] = _Logs(_log_table(windows, SERVICE))
        if capacities is not None and not capacities.empty:
            held = capacities.pivot(columns="cell", index="block", values="held")
            self._logs[CAPACITY] = _Logs(pd.DataFrame(np.log(held)))
        #: Cells whose capacity is only known to be at least something: no ratio can be had of them.
        self._unbounded = _unbounded(capacities)
        attempts = _attempts_of(windows, capacities)
        #: By cell: the host of each block. Nothing where there was but one.
        self._hosts = _hosts_of_blocks(attempts)
        #: By cell: the group of each block.
        self._groups = _groups_of_blocks(attempts)
        self._chances: dict[str, Chance] = {}
        silent = windows[windows["successes"] <= 0]
        #: Cells that answered nothing well in some window: no ratio can be had of them.
        self._silent = {
            str(row["cell"]): f"no request answered well in window {row['round'] + 1} of block {row['block']}"
            for _, row in silent.iloc[::-1].iterrows()
        }

    @property
    def metrics(self) -> tuple[str, ...]:
        """What can be compared: `RATIO_METRICS`, and what was measured beside."""
        return tuple(self._logs)

    def log_ratios(self, cell: str, reference: str, metric: str) -> "pd.Series[float]":
        """One log-ratio for each block in which both ran, on one host, from the rounds that both have."""
        logs = self._logs.get(metric)
        if logs is None or (own := logs.of(cell)) is None or (other := logs.of(reference)) is None:
            return _NOTHING
        with np.errstate(invalid="ignore"):  # neither did anything that could be measured
            ratios = logs.by_block(own - other)
        if not self._hosts:
            return ratios
        return ratios[self._hosts[cell].loc[ratios.index] == self._hosts[reference].loc[ratios.index]]

    def independent(self, cell: str, reference: str, metric: str) -> "pd.Series[float]":
        """The log-ratios that know nothing of each other: one a host where there were several, else one a block.

        Blocks of one host share what is the host's own, so they are no more of a sample of hosts than their mean is
        (the host as a random effect). Over the means of hosts the t interval holds whatever the hosts' variance: for
        as many blocks on each it is exactly the F test of the one-way random-effects model (Scheffé, "The Analysis
        of Variance" (1959), section 7.2), and with unequal numbers it errs little.
        """
        ratios = self.log_ratios(cell, reference, metric)
        if not self._hosts or ratios.empty:
            return ratios
        hosts = self._hosts[cell].loc[ratios.index]
        return ratios if hosts.nunique() == 1 else ratios.groupby(hosts.to_numpy()).mean()

    def block_logs(self, cell: str, metric: str) -> "pd.Series[float]":
        """The metric's logarithm, one for each block: the mean over its rounds."""
        logs = self._logs.get(metric)
        own = None if logs is None else logs.of(cell)
        return _NOTHING if logs is None or own is None else logs.by_block(own)

    def obstacle(self, cells: Iterable[str], logs: "pd.Series[float]", metric: str) -> str:
        """Why nothing can be said of `cells` from these logs of a metric; empty where something can."""
        for name in cells:
            if metric == CAPACITY and name in self._unbounded:
                return f"{name}: the most that was tried was held, so its capacity is only known to be at least that"
            if metric != CAPACITY and name in self._silent:
                return f"{name}: {self._silent[name]}"
        if logs.empty:
            return f"no block in which both have {'a capacity' if metric == CAPACITY else 'windows that count'}"
        return "" if np.isfinite(logs).all() else "too small to measure"

    def estimate(self, cell: str, reference: str, metric: str) -> Estimate | str:
        """The mean log-ratio with what is needed to judge it, or the reason why there is none.

        How much figures vary by chance is learned from all cells beside each other; from the pair alone where something
        else is in a ratio's variance too: the differences of several hosts, or of the minutes between two groups.
        """
        logs = self.independent(cell, reference, metric)
        obstacle = self.obstacle((cell, reference), logs, metric)
        if obstacle:
            return obstacle
        own = paired(logs.to_list())
        return self._chance(metric).share(own) if self._side_by_side(cell, reference, logs.index) else own

    def _side_by_side(self, cell: str, reference: str, blocks: "pd.Index[int]") -> bool:
        if self._hosts:
            return False
        own, other = self._groups[cell], self._groups[reference]
        return all(own[block] == other[block] for block in blocks)

    def _chance(self, metric: str) -> Chance:
        if metric not in self._chances:
            self._chances[metric] = Chance(self.by_group(self._logs[metric].cells, metric))
        return self._chances[metric]

    def by_group(self, cells: Iterable[str], metric: str) -> pd.DataFrame:
        """The metric's logarithm: a row for each group of a block, a column for each of the cells that has any."""
        found = [
            (block, self._groups[cell][block], cell, log)
            for cell in cells
            for logs in [self.block_logs(cell, metric)]
            for block, log in zip(logs.index, logs, strict=True)
        ]
        rows = pd.DataFrame(found, columns=["block", "group", "cell", "log"])
        return rows.pivot(index=["block", "group"], columns="cell", values="log")

    def family(self, pairs: Sequence[tuple[str, str]], metric: str) -> list[Ratio]:
        """(cell, reference) pairs in one metric, judged together."""
        estimates = [self.estimate(cell, reference, metric) for cell, reference in pairs]
        return [
            Ratio(
                cell=cell,
                reference=reference,
                metric=metric,
                sign_flip_p=None if judged.value is None else self._sign_flip(cell, reference, metric),
                **judged.model_dump(),
            )
            for (cell, reference), judged in zip(pairs, judge_known(estimates), strict=True)
        ]

    def _sign_flip(self, cell: str, reference: str, metric: str) -> float | None:
        return sign_flip(self.independent(cell, reference, metric).to_list())

    def with_references(self, cells: Iterable[CellRecord]) -> list[Ratio]:
        """Every cell that has a reference other than itself, in every metric: each metric is one family."""
        pairs = [
            (cell.id, cell.reference) for cell in cells if cell.reference is not None and cell.reference != cell.id
        ]
        families = [self.family(pairs, metric) for metric in self.metrics]
        return [ratio for of_cell in zip(*families, strict=True) for ratio in of_cell]


def _attempts_of(windows: pd.DataFrame, capacities: pd.DataFrame | None) -> pd.DataFrame:
    parts = [frame[["block", "cell", "group", "host"]] for frame in (windows, capacities) if frame is not None]
    return pd.concat(parts).drop_duplicates(["block", "cell"])


def _hosts_of_blocks(attempts: pd.DataFrame) -> "dict[str, pd.Series[str]]":
    if attempts["host"].nunique() <= 1:
        return {}
    return {str(cell): of_cell.set_index("block")["host"] for cell, of_cell in attempts.groupby("cell")}


def _groups_of_blocks(attempts: pd.DataFrame) -> dict[str, dict[int, str]]:
    found: dict[str, dict[int, str]] = {}
    for cell, block, group in zip(attempts["cell"], attempts["block"], attempts["group"], strict=True):
        found.setdefault(cell, {})[block] = group
    return found


def _unbounded(capacities: pd.DataFrame | None) -> frozenset[str]:
    if capacities is None:
        return frozenset()
    return frozenset(capacities.loc[capacities["failed"].isna() & capacities["held"].notna(), "cell"])


def judge_known(estimates: Sequence[Estimate | str]) -> list[Judgement]:
    """A family of which some members could not be estimated, for the reason in their place."""
    judged = iter(judge([estimate for estimate in estimates if isinstance(estimate, Estimate)]))
    return [no_judgement(estimate) if isinstance(estimate, str) else next(judged) for estimate in estimates]


def _log_table(windows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Logs of a metric, one column a cell.

    Rates and quantiles: one row a round of a block. CPU: one row a block, since the clock of processor time
    is too coarse for one window.
    """
    keys = ["block", "cell"] if metric == "resources.app.cpu_seconds_per_request" else ["block", "round", "cell"]
    columns = ["successes", "seconds", "driven_requests", "p50", "p95", "service_p95", "cpu_app"]
    sums = windows.groupby(keys)[[name for name in columns if name in windows]].sum(min_count=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        if metric == "throughput_rps":
            values = sums["successes"] / sums["seconds"]
        elif metric == "resources.app.cpu_seconds_per_request":
            values = sums["cpu_app"] / sums["driven_requests"]
        elif metric == SERVICE:
            values = sums["service_p95"]
        else:
            values = sums[metric.removeprefix("latency_ms.")]
        return pd.DataFrame(np.log(values.unstack("cell")))
