"""From what an attempt saw to its record."""

from collections.abc import Mapping, Sequence

import pandas as pd

from runner import figures, flags
from runner.evidence import Aftermath, Evidence
from runner.host import own_fingerprint
from runner.recovery import recoveries
from runner.results.schema import (
    Agreement,
    Arrivals,
    AttemptRecord,
    Capacity,
    ClientConnections,
    ComponentUsage,
    Connections,
    Latency,
    SamplerQuality,
    Verdict,
    WindowResult,
)
from runner.sampling.host import host_frame
from runner.stacks.app import Check


def basic_record(evidence: Evidence, verdict: Verdict) -> AttemptRecord:
    """The record of an attempt that came to nothing measurable."""
    return AttemptRecord(
        cell=evidence.cell.id,
        block=evidence.planned.block,
        attempt=evidence.planned.attempt,
        group=evidence.group,
        verdict=verdict,
        started_at=evidence.started_at,
        measured_on=own_fingerprint(),
        clock_zero=evidence.clock_zero,
        phases=evidence.phases,
        server_command=evidence.server_command,
        django_databases=evidence.shown_databases,
        app_environment=evidence.app_environment,
        load_hosts=evidence.load_hosts,
    )


def measured_record(
    evidence: Evidence,
    requests: pd.DataFrame,
    examples: Mapping[str, str],
    aftermath: Aftermath,
    sampler: SamplerQuality,
) -> AttemptRecord:
    """The record of an attempt that got at least as far as its count."""
    counted = requests[requests["window"] == figures.COUNT_WINDOW]
    windows, timed = _windows(evidence, requests[requests["window"] >= figures.COUNT_WINDOW])
    good = timed[timed["error"] == ""]
    seconds = sum(window.seconds for window in windows)
    workers = figures.worker_shares(counted)
    agreement = _agreement(evidence, requests, aftermath)
    return basic_record(evidence, flags.judge(agreement, evidence, aftermath)).model_copy(
        update={
            "flags": flags.raise_flags(evidence, workers, sampler),
            "count_requests": len(counted),
            "count_errors": int((counted["error"] != "").sum()),
            "connections": _connections(evidence, counted),
            "windows": windows,
            "latency_ms": figures.latency(figures.response_ms(good)),
            **_open_figures(evidence, good),
            "capacity": _capacity(evidence),
            "waterfall_ms": figures.waterfall(good),
            "throughput_rps": len(good) / seconds if seconds else None,
            "requests": len(requests),
            "errors": figures.error_kinds(requests, examples),
            "resources": _resources(evidence),
            "workers": workers,
            "recovery": recoveries(evidence, requests),
            "commands": evidence.commands,
            "agreement": agreement,
            "sampler": sampler,
            "host": flags.host_figures(evidence),
        }
    )


def _windows(evidence: Evidence, requests: pd.DataFrame) -> tuple[list[WindowResult], pd.DataFrame]:
    """Each window's figures, and the measured requests of all; the count's requests where there are no windows."""
    results, measured = [], []
    for number, stretch in enumerate(evidence.windows):
        start, end = (moment - evidence.clock_zero for moment in (stretch.driven.start, stretch.driven.end))
        within = figures.due_between if evidence.is_open else figures.answered_between
        rows = within(requests[requests["window"] == number], start, end)
        good = rows[rows["error"] == ""]
        measured.append(rows)
        results.append(
            WindowResult(
                round=number,
                position=stretch.position,
                offset=start,
                seconds=end - start,
                requests=len(rows),
                errors=len(rows) - len(good),
                latency_ms=figures.latency(figures.response_ms(good)),
                service_ms=figures.latency(good["service_ms"]) if evidence.is_open else None,
                driven_requests=stretch.driven.requests,
                cpu_seconds=stretch.cpu_seconds,
            )
        )
    return results, pd.concat(measured) if measured else requests


def _open_figures(evidence: Evidence, good: pd.DataFrame) -> dict[str, Latency | Arrivals]:
    """What there is beside response times where requests were due on a schedule."""
    if not evidence.is_open:
        return {}
    driven = [stretch.driven for stretch in evidence.windows or evidence.stretches]
    arrivals = Arrivals(
        due=sum(one.due for one in driven),
        late=sum(one.late for one in driven),
        dropped=sum(one.dropped for one in driven),
    )
    return {"service_ms": figures.latency(good["service_ms"]), "arrivals": arrivals}


def _capacity(evidence: Evidence) -> Capacity | None:
    if not evidence.steps:
        return None
    steps = [step.found for step in evidence.steps]
    return Capacity(held_rps=evidence.held, failed_rps=evidence.failed, steps=steps)


def _checks(evidence: Evidence) -> Sequence[Check]:
    """The harness's own requests before the load."""
    return evidence.app.checks if evidence.cell.serves else ()


def _connections(evidence: Evidence, counted: pd.DataFrame) -> Connections | None:
    books, peak = evidence.books, evidence.peak
    if books is None or peak is None:
        return None
    checks = _checks(evidence)
    if evidence.cell.connection.atomic_requests:
        # Every view is a transaction, that of the readiness probe too.
        asked = figures.database_requests(counted, frozenset()) + len(checks) + evidence.cell.serves
    else:
        without = evidence.app.endpoints_without_database
        asked = figures.database_requests(counted, without) + sum(check.database for check in checks)
        asked += evidence.cell.serves and evidence.app.ready_asks_database
    return Connections(
        peak=peak.connections,
        peak_slots=peak.slots,
        opened=books.opened,
        refused=books.refused,
        lingering=books.current,
        database_requests=asked,
        opened_per_request=books.opened / asked if asked else None,
        transactions=books.transactions,
        client=_clients(evidence, asked),
    )


def _clients(evidence: Evidence, asked: int) -> ClientConnections | None:
    """The app's side of its pooler; None where there is none."""
    books, peak = evidence.client_books, evidence.client_peak
    if books is None or peak is None:
        return None
    return ClientConnections(
        peak=peak.connections,
        opened=books.opened,
        refused=books.refused,
        lingering=books.current,
        opened_per_request=books.opened / asked if asked else None,
        waiting_max=max((reading.clients_waiting for _, reading in evidence.pooler_rows), default=0),
        waited_seconds=books.waited_seconds,
    )


def _agreement(evidence: Evidence, requests: pd.DataFrame, aftermath: Aftermath) -> Agreement:
    answered = requests[requests["status"] > 0]
    good = requests[requests["error"] == ""]
    endpoints = good["endpoint"].astype(str)
    checks = [check.endpoint for check in _checks(evidence) if check.status < 400]
    return Agreement(
        locust=len(answered),
        unanswered=len(requests) - len(answered),
        server_log=aftermath.logged_requests,
        audits={
            audit.table: (
                int((endpoints == audit.endpoint).sum()) + checks.count(audit.endpoint),
                aftermath.rows_gained[audit.table],
            )
            for audit in evidence.app.audits
        },
        database_requests=figures.database_requests(good, evidence.app.endpoints_without_database),
        database_transactions=aftermath.books.transactions,
    )


def _resources(evidence: Evidence) -> dict[str, ComponentUsage]:
    """CPU over the windows; over the count where a matrix asks for no windows."""
    timed = evidence.windows or evidence.stretches
    requests = sum(stretch.driven.requests for stretch in timed)
    host = host_frame(evidence.host_rows, evidence.clock_zero)
    usage = {}
    for component in evidence.components:
        seconds = sum(stretch.cpu_seconds[component] for stretch in timed)
        memory = host.loc[host["component"] == component, "memory_bytes"].dropna()
        if component == "database":
            # The server holds the idle connections of the group's other cells too: its own growth is the cell's.
            memory = memory - memory.iloc[:1].sum() + evidence.database_bytes
        usage[component] = ComponentUsage(
            cpu_seconds_per_request=seconds / requests if requests else None,
            peak_memory_bytes=None if memory.empty else int(memory.max()),
        )
    return usage
