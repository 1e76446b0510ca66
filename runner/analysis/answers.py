"""The short answer: for each database, which cell is best at what, and which others are level with it."""

from collections.abc import Callable, Mapping, Sequence

from runner.analysis.decisions import FEWEST_BLOCKS
from runner.analysis.inference import ALPHA, Estimate, detectable, p_value_above
from runner.analysis.model import Answer, CellSummary, Number
from runner.analysis.ratios import Comparison
from runner.analysis.soundness import why_unsound

_Figure = Callable[[CellSummary], Number | None]


def answers(comparison: Comparison, cells: Sequence[CellSummary]) -> list[Answer]:
    """Highest throughput, lowest p95 and fewest connections of each database's cells.

    Cells that are not ok, that cannot work, or in which a request failed, are no candidates: a stack that turns
    work away is quick.
    """
    databases: dict[str, list[CellSummary]] = {}
    for cell in cells:
        candidates = databases.setdefault(str(cell.axes.get("database", "")), [])
        if cell.status == "ok" and not failed_requests(cell) and not why_unsound(cell):
            candidates.append(cell)
    found: list[Answer | None] = []
    for database, candidates in databases.items():
        rates, p95s, peaks = (_measured(candidates, figure) for figure in (_throughput, _p95, _peak))
        found.append(_fastest(comparison, database, "throughput_rps", rates, max))
        found.append(_fastest(comparison, database, "latency_ms.p95", p95s, min))
        found.append(_fewest_connections(database, peaks))
    return [answer for answer in found if answer is not None]


def failed_requests(cell: CellSummary) -> bool:
    total = cell.metrics.errors.total if cell.metrics else None
    return total is not None and total.high > 0


def _throughput(cell: CellSummary) -> Number | None:
    return cell.metrics.throughput_rps if cell.metrics else None


def _p95(cell: CellSummary) -> Number | None:
    return cell.metrics.latency_ms.p95 if cell.metrics else None


def _peak(cell: CellSummary) -> Number | None:
    return cell.metrics.connections.peak if cell.metrics else None


def _measured(cells: Sequence[CellSummary], figure: _Figure) -> dict[str, float]:
    return {cell.id: found.value for cell in cells if (found := figure(cell)) is not None}


def _fastest(
    comparison: Comparison,
    database: str,
    metric: str,
    values: Mapping[str, float],
    best_of: Callable[..., str],
) -> Answer | None:
    """The best median, and every cell that is not shown to be worse by a one-sided test at ALPHA / (cells − 1).

    At this level the truly best cell is left out in at most ALPHA of all runs, although the one it is held against was
    picked by its figures: it would have to lose one of its own cells − 1 comparisons (Gupta, "On Some Multiple
    Decision (Selection and Ranking) Rules", Technometrics 7 (1965)).
    """
    if not values:
        return None
    best = best_of(values, key=values.__getitem__)
    beside = {
        name: comparison.estimate(*((best, name) if best_of is max else (name, best)), metric)
        for name in values
        if name != best
    }
    known = {name: found for name, found in beside.items() if isinstance(found, Estimate) and found.error is not None}
    level = [name for name, found in known.items() if not _is_better(found, len(known))]
    smallest = [detectable(known[name], len(known) / 2) for name in level]
    return Answer(
        database=database,
        metric=metric,
        cell=best,
        value=values[best],
        level_with=level,
        unknown=[name for name in beside if name not in known],
        blocks=min((known[name].n for name in level), default=0),
        detectable=max((share for share in smallest if share is not None), default=None),
    )


def _is_better(best_beside_other: Estimate, others: int) -> bool:
    p = p_value_above(best_beside_other)
    return p is not None and p * others <= ALPHA and best_beside_other.n >= FEWEST_BLOCKS


def _fewest_connections(database: str, peaks: Mapping[str, float]) -> Answer | None:
    """The lowest peak. Peaks are exact counts: cells are level when theirs are equal."""
    if not peaks:
        return None
    best = min(peaks, key=peaks.__getitem__)
    return Answer(
        database=database,
        metric="connections.peak",
        cell=best,
        value=peaks[best],
        level_with=[name for name, value in peaks.items() if value == peaks[best] and name != best],
        unknown=[],
    )
