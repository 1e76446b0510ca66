"""Two runs side by side: what changed in each cell from one to the other, if they may be compared at all.

Blocks of two runs are not paired, so speeds are compared by Welch's t interval over blocks, one family for each metric.
A host's drift between the runs looks like a change of the cells; ratios to a reference that ran beside them are free
of it, and of the host.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from runner.analysis.inference import Estimate, unpaired
from runner.analysis.model import (
    CellSummary,
    Change,
    CountChange,
    Difference,
    Number,
    RunComparison,
    RunSummary,
    Summary,
)
from runner.analysis.ratios import Comparison, judge_known
from runner.analysis.summary import sound_comparison, summarise
from runner.results.schema import Verdict
from runner.results.store import RunFolder

if TYPE_CHECKING:
    import pandas as pd

#: Facts of a host that say why its fingerprint differs.
_HOST_FACTS = ("fingerprint", "system", "kernel", "cpu", "cores", "memory_bytes")
_NOTHING = "(none)"
#: Counts that are compared, and what they may differ by: connections that last count for less among more requests.
_COUNTS = {"peak": 0.0, "opened_per_request": 0.05, "lingering": 0.0}


def compare_folders(base: RunFolder, new: RunFolder, *, ratios: bool) -> RunComparison:
    """Two runs from their raw data."""
    frames = sound_comparison(base), sound_comparison(new)
    return compare_runs(summarise(base), summarise(new), frames, ratios=ratios)


def compare_runs(base: Summary, new: Summary, frames: tuple[Comparison, Comparison], *, ratios: bool) -> RunComparison:
    """`new` against `base`; `frames` of their attempts that are ok alone.

    A run is incomparable with another of a different host or database, unless `ratios` to each run's own reference are
    compared.
    """
    grave = [*host_differences(base.run, new.run), *database_differences(base, new)]
    if grave and not ratios:
        fields = dict.fromkeys(found.field.partition(":")[0] for found in grave)
        reason = f"they differ in {', '.join(fields)}"
        return _comparison(base, new, ratios, Verdict(status="incomparable", reason=reason), grave)
    cells = _common(base, new)
    metrics = dict.fromkeys(metric for frame in frames for metric in frame.metrics)
    families = [_family(frames, cells, metric, ratios) for metric in metrics]
    return _comparison(base, new, ratios, Verdict(status="ok"), grave).model_copy(
        update={
            "changes": [change for of_cell in zip(*families, strict=True) for change in of_cell],
            "counts": [change for pair in cells for change in _counts(*pair)],
        }
    )


def host_differences(base: RunSummary, new: RunSummary) -> list[Difference]:
    """What tells the two machines apart; empty where the fingerprint says that they are one."""
    if base.host.fingerprint == new.host.fingerprint:
        return []
    facts = ({name: getattr(run.host, name) for name in _HOST_FACTS} for run in (base, new))
    return _changed("host", *facts)


def database_differences(base: Summary, new: Summary) -> list[Difference]:
    """Products and settings of the databases that cells of both runs used."""
    used = {str(pair[0].axes.get("database", "")) for pair in _common(base, new)}
    return [difference for name in sorted(used) for difference in _of_database(name, base.run, new.run)]


def _of_database(name: str, base: RunSummary, new: RunSummary) -> list[Difference]:
    """A run that was cut off never told its databases: then what they were is one difference, not each setting."""
    found = [next((record for record in run.databases if record.name == name), None) for run in (base, new)]
    products = [{"product": record.product if record else "not recorded"} for record in found]
    settings = [record.settings if record and all(found) else {} for record in found]
    field = f"database {name}"
    if not any(found):
        return [Difference(field=f"{field}: product", base="not recorded", new="not recorded")]
    return [*_changed(field, *products), *_changed(field, *settings)]


def _changed(what: str, base: Mapping[str, object], new: Mapping[str, object]) -> list[Difference]:
    return [
        Difference(field=f"{what}: {name}", base=str(base.get(name, _NOTHING)), new=str(new.get(name, _NOTHING)))
        for name in dict.fromkeys((*base, *new))
        if base.get(name, _NOTHING) != new.get(name, _NOTHING)
    ]


def _parameters(base: Summary, new: Summary) -> list[Difference]:
    """One difference for all cells in which a parameter changed alike."""
    cells: dict[tuple[str, str, str], list[str]] = {}
    for old, now in _common(base, new):
        for found in _changed("parameter", _flat(old.params), _flat(now.params)):
            cells.setdefault((found.field, found.base, found.new), []).append(now.id)
    return [
        Difference(field=field, base=before, new=after, cells=names) for (field, before, after), names in cells.items()
    ]


def _flat(params: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """`{"load": {"users": 16}}` as `{"load.users": 16}`."""
    flat: dict[str, object] = {}
    for name, value in params.items():
        flat.update(_flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value})
    return flat


def _common(base: Summary, new: Summary) -> list[tuple[CellSummary, CellSummary]]:
    """The cells that both runs measured, in the order of the newer."""
    known = {cell.id: cell for cell in base.cells if cell.status != "skipped"}
    return [(known[cell.id], cell) for cell in new.cells if cell.status != "skipped" and cell.id in known]


def _comparison(
    base: Summary, new: Summary, ratios: bool, verdict: Verdict, grave: Sequence[Difference]
) -> RunComparison:
    ids = [{cell.id: None for cell in run.cells if cell.status != "skipped"} for run in (base, new)]
    return RunComparison(
        base=base.run.folder,
        new=new.run.folder,
        ratios=ratios,
        verdict=verdict,
        grave=grave,
        differences=[*_changed("version", base.run.versions, new.run.versions), *_parameters(base, new)],
        only_in_base=[name for name in ids[0] if name not in ids[1]],
        only_in_new=[name for name in ids[1] if name not in ids[0]],
    )


def _family(
    frames: tuple[Comparison, Comparison],
    cells: Sequence[tuple[CellSummary, CellSummary]],
    metric: str,
    ratios: bool,
) -> list[Change]:
    """Every cell in one metric; with `ratios`, every cell that has a reference other than itself."""
    if ratios:
        cells = [pair for pair in cells if any(cell.reference not in (None, cell.id) for cell in pair)]
    estimates = [_estimate(frames, pair, metric, ratios) for pair in cells]
    return [
        Change(
            cell=now.id,
            reference=now.reference if ratios else None,
            metric=metric,
            base=_level(frames[0], old, metric, ratios),
            new=_level(frames[1], now, metric, ratios),
            **judged.model_dump(),
        )
        for (old, now), judged in zip(cells, judge_known(estimates), strict=True)
    ]


def _estimate(
    frames: tuple[Comparison, Comparison], cells: tuple[CellSummary, CellSummary], metric: str, ratios: bool
) -> Estimate | str:
    if ratios and cells[0].reference != cells[1].reference:
        return f"the reference was {cells[0].reference} and is {cells[1].reference}"
    logs = []
    for run, frame, cell in zip(("base", "new"), frames, cells, strict=True):
        of_run = _logs(frame, cell, metric, ratios)
        involved = [cell.id, *([cell.reference] if ratios and cell.reference else [])]
        obstacle = frame.obstacle(involved, of_run, metric)
        if obstacle:
            return f"{run}: {obstacle}"
        logs.append(of_run.to_list())
    return unpaired(*logs)


def _logs(frame: Comparison, cell: CellSummary, metric: str, ratios: bool) -> "pd.Series[float]":
    if ratios:
        return frame.independent(cell.id, cell.reference or cell.id, metric)
    return frame.block_logs(cell.id, metric)


def _level(frame: Comparison, cell: CellSummary, metric: str, ratios: bool) -> float | None:
    """The metric itself, or its ratio to the reference: geometric mean over blocks."""
    logs = _logs(frame, cell, metric, ratios)
    return math.exp(logs.mean()) if len(logs) and np.isfinite(logs).all() else None


def _counts(old: CellSummary, now: CellSummary) -> list[CountChange]:
    """Connections are exact counts: they changed if no block of one run saw what a block of the other saw."""
    found = []
    for name, tolerance in _COUNTS.items():
        base, new = (getattr(cell.metrics.connections, name) if cell.metrics else None for cell in (old, now))
        if isinstance(base, Number) and isinstance(new, Number):
            gap = max(new.low - base.high, base.low - new.high)
            metric = f"connections.{name}"
            found.append(CountChange(cell=now.id, metric=metric, base=base, new=new, changed=gap > tolerance))
    return found
