"""summary.json: a run's folder reduced to one small file, which everything else is shown from."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from runner.analysis.answers import answers
from runner.analysis.expectations import evaluate
from runner.analysis.frames import (
    ARRIVALS,
    COMPONENTS,
    QUANTILES,
    TIMES,
    attempts_frame,
    capacities_frame,
    latest_of_each_block,
    windows_frame,
)
from runner.analysis.model import (
    ArrivalNumbers,
    Blocks,
    CapacityBracket,
    CellMetrics,
    CellSummary,
    ClientNumbers,
    ComponentNumbers,
    ConnectionNumbers,
    Errors,
    FlagSummary,
    LatencyNumbers,
    RunSummary,
    Summary,
    WaterfallNumbers,
)
from runner.analysis.numbers import number
from runner.analysis.phases import command_numbers, recovery_numbers
from runner.analysis.predictions import judge_prediction, read_prediction
from runner.analysis.ratios import Comparison
from runner.matrix.metrics import CLIENT_COUNTS
from runner.results.schema import AttemptRecord, CellRecord, ErrorKind, RunEnd, RunRecord, Status
from runner.results.store import RunFolder, write_json

__all__ = ["Summary", "summarise", "write_summary"]

#: From worst to best: the worst block names the cell's status.
SEVERITY: Sequence[Status] = ("failed", "invalid", "incomparable", "underpowered", "skipped", "ok")

#: Phases in which load runs or connections are watched; the rest of a run is overhead.
MEASURING = ("count", "idle", "search", "windows", "phases")


def summarise(folder: RunFolder) -> Summary:
    """Everything that the folder's attempts show; reads the folder and changes nothing."""
    run, end = folder.run(), folder.end()
    attempts = latest_of_each_block([record for _, record in folder.attempts()])
    frame = attempts_frame(attempts)
    interrupted = end is None or end.status != "finished"
    if attempts and not interrupted:
        # A run that came to its end may have had blocks enough before the last that it could have had.
        run = run.model_copy(update={"blocks": max(record.block for record in attempts)})
    cells = _cells(run, attempts, frame, interrupted)
    skipped = [CellSummary(id=cell.id, status="skipped", reason=cell.reason, axes=cell.axes) for cell in run.skipped]
    comparison = _comparison_of_ok(attempts)
    return Summary(
        answers=answers(comparison, cells),
        run=_run(folder, run, end, attempts),
        cells=[*cells, *skipped],
        ratios=comparison.with_references(run.cells),
        expectations=evaluate(run.matrix.get("expect") or (), run.cells, frame),
    )


def sound_comparison(folder: RunFolder) -> Comparison:
    """A folder's attempts that are ok, ready to be compared."""
    return _comparison_of_ok(latest_of_each_block([record for _, record in folder.attempts()]))


def _comparison_of_ok(attempts: Sequence[AttemptRecord]) -> Comparison:
    ok = [record for record in attempts if record.verdict.status == "ok"]
    return Comparison(windows_frame(ok), capacities_frame(ok))


def write_summary(folder: RunFolder) -> Summary:
    """Writes summary.json anew and hands it back."""
    summary = summarise(folder)
    write_json(folder.path / "summary.json", summary)
    return summary


def combined_status(attempts: Sequence[AttemptRecord], interrupted: bool) -> tuple[Status, str]:
    """The worst status over a cell's blocks, and the reasons with the blocks where each arose."""
    if not attempts:
        return "failed", f"not run: {'the run was interrupted' if interrupted else 'no attempt was recorded'}"
    worst = min((record.verdict.status for record in attempts), key=SEVERITY.index)
    if worst == "ok":
        return worst, ""
    blocks: dict[str, list[int]] = {}
    for record in attempts:
        if record.verdict.status == worst:
            blocks.setdefault(record.verdict.reason, []).append(record.block)
    if len(blocks) == 1 and len(next(iter(blocks.values()))) == len(attempts):
        return worst, next(iter(blocks))
    return worst, "; ".join(f"{reason} ({_in_blocks(where)})" for reason, where in blocks.items())


def _in_blocks(blocks: Sequence[int]) -> str:
    return f"block{'s' if len(blocks) > 1 else ''} {', '.join(str(block) for block in blocks)}"


def _cells(
    run: RunRecord, attempts: Sequence[AttemptRecord], frame: pd.DataFrame, interrupted: bool
) -> list[CellSummary]:
    own: dict[str, list[AttemptRecord]] = {}
    for record in attempts:
        own.setdefault(record.cell, []).append(record)
    rows, none = dict(iter(frame.groupby("cell"))), frame.iloc[:0]
    return [_cell(cell, own.get(cell.id, []), rows.get(cell.id, none), run.blocks, interrupted) for cell in run.cells]


def _cell(
    cell: CellRecord, attempts: Sequence[AttemptRecord], frame: pd.DataFrame, planned: int, interrupted: bool
) -> CellSummary:
    """`attempts` and the rows of `frame` are the cell's own."""
    ok = [record for record in attempts if record.verdict.status == "ok"]
    status, reason = combined_status(attempts, interrupted)
    return CellSummary(
        id=cell.id,
        status=status,
        reason=reason,
        axes=cell.axes,
        params=cell.params,
        reference=cell.reference,
        blocks=Blocks(planned=planned, run=len(attempts), ok=len(ok)),
        flags=_flags(attempts),
        metrics=_metrics(cell, attempts, ok, frame),
    )


def _metrics(
    cell: CellRecord, attempts: Sequence[AttemptRecord], ok: Sequence[AttemptRecord], frame: pd.DataFrame
) -> CellMetrics:
    """Figures of the attempts that are ok; errors of all of them."""
    sound = frame[frame["status"] == "ok"]
    predicted = read_prediction(cell.predicted)
    is_open = any(record.arrivals is not None for record in ok)
    verdict, note = judge_prediction(predicted, ok)
    fields = ("peak", "peak_slots", "opened", "opened_per_request", "refused", "lingering")
    return CellMetrics(
        requests=number(sound["requests"]),
        throughput_rps=number(sound["throughput_rps"]),
        capacity_rps=number(sound["capacity_rps"]),
        capacity=_capacity(ok),
        errors=Errors(
            total=number(frame["errors.total"]), share=number(frame["errors.share"]), by_kind=_errors_by_kind(attempts)
        ),
        latency_ms=LatencyNumbers(**_numbers(sound, "latency_ms", QUANTILES)),
        service_ms=LatencyNumbers(**_numbers(sound, "service_ms", QUANTILES)) if is_open else None,
        arrivals=ArrivalNumbers(**_numbers(sound, "arrivals", ARRIVALS)) if is_open else None,
        waterfall_ms=WaterfallNumbers(**_numbers(sound, "waterfall_ms", TIMES)),
        connections=ConnectionNumbers(
            **_numbers(sound, "connections", fields),
            client=ClientNumbers(**_numbers(sound, "connections.client", CLIENT_COUNTS)) if predicted.clients else None,
            predicted=predicted,
            as_predicted=verdict,
            prediction_note=note,
        ),
        resources={component: _resources(sound, component) for component in COMPONENTS},
        recovery=recovery_numbers(ok, sound),
        commands=command_numbers(ok, sound),
    )


def _numbers(frame: pd.DataFrame, prefix: str, names: Iterable[str]) -> dict[str, Any]:
    return {name: number(frame[f"{prefix}.{name}"]) for name in names}


def _capacity(attempts: Sequence[AttemptRecord]) -> CapacityBracket | None:
    """Nothing where no block searched, or held any rate."""
    if all(record.capacity is None for record in attempts):
        return None
    capacities = capacities_frame(attempts)
    held = number(capacities["held"])
    if held is None:
        return None
    unbounded = capacities["failed"].isna() & capacities["held"].notna()
    return CapacityBracket(held=held, failed=number(capacities["failed"]), at_least=bool(unbounded.any()))


def _resources(frame: pd.DataFrame, component: str) -> ComponentNumbers:
    return ComponentNumbers(
        cpu_seconds_per_request=number(frame[f"resources.{component}.cpu_seconds_per_request"]),
        peak_memory_bytes=number(frame[f"resources.{component}.peak_memory_bytes"]),
    )


def _errors_by_kind(attempts: Iterable[AttemptRecord]) -> dict[str, ErrorKind]:
    """Counts over all attempts, the first example of each kind, the commonest kind first."""
    kinds: dict[str, ErrorKind] = {}
    for record in attempts:
        for name, kind in record.errors.items():
            seen = kinds.get(name)
            kinds[name] = seen.model_copy(update={"count": seen.count + kind.count}) if seen is not None else kind
    return dict(sorted(kinds.items(), key=lambda item: (-item[1].count, item[0])))


def _flags(attempts: Iterable[AttemptRecord]) -> list[FlagSummary]:
    raised: dict[str, tuple[str, list[int]]] = {}
    for record in attempts:
        for flag in record.flags:
            blocks = raised.setdefault(flag.code, (flag.text, []))[1]
            if record.block not in blocks:
                blocks.append(record.block)
    return [FlagSummary(code=code, text=text, blocks=blocks) for code, (text, blocks) in raised.items()]


def _run(folder: RunFolder, run: RunRecord, end: RunEnd | None, attempts: Sequence[AttemptRecord]) -> RunSummary:
    spent: Mapping[str, float] = end.time_spent if end else {}
    return RunSummary(
        folder=folder.path.name,
        finished=end is not None and end.status == "finished",
        finished_at=end.finished_at if end else None,
        finding=end.finding if end else "",
        databases=end.databases if end else (),
        wall_seconds=end.wall_seconds if end else None,
        time_spent=spent,
        measuring_seconds=sum(spent.get(name, 0.0) for name in MEASURING) if spent else _phases(attempts),
        **_copied(run),
    )


def _copied(run: RunRecord) -> dict[str, Any]:
    names = (
        "name",
        "started_at",
        "seed",
        "quick",
        "blocks",
        "matrix_hash",
        "provider",
        "command",
        "host",
        "versions",
    )
    return {name: getattr(run, name) for name in (*names, "versions")}


def _phases(attempts: Iterable[AttemptRecord]) -> float:
    """Seconds of measuring by the attempts' own phases, for a run that was cut off before it could say."""
    phases = ("count", "idle", "search", "window", "drive", "command", "fault")
    return sum(phase.seconds for record in attempts for phase in record.phases if phase.name in phases)
