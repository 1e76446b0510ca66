"""Rules, fixed beforehand, by which an attempt is invalid or carries a flag."""

import math
from collections.abc import Sequence

from runner.evidence import Aftermath, Evidence
from runner.results.schema import Agreement, Flag, SamplerQuality, Verdict, WorkerShare

# A driver has one thread; above this share of a core it is the generator that is measured.
GENERATOR_CPU = 0.90
# Share of the machine's CPU time that other guests took from it.
STEAL = 0.02
# Share of samples that came more than half a period late.
SAMPLER_LATE = 0.05
# A warm app may grow a little while it is counted. Both have to be passed in the second half of the count, by which
# time everything has been imported and every worker has answered: a share of what it took, and bytes.
GROWTH, GROWTH_BYTES = 0.25, 32 * 1024 * 1024
# A memory reading every half second: fewer do not show a half.
GROWTH_READINGS = 4
# The busiest worker against an even share, where clients are not pinned to workers by chance alone.
SKEW = 2.0


def judge(agreement: Agreement, evidence: Evidence, aftermath: Aftermath) -> Verdict:
    """The three counts must agree; what never got an answer may or may not have been counted elsewhere."""
    problems = []
    least, most = agreement.locust, agreement.locust + agreement.unanswered
    if not least <= agreement.server_log <= most:
        problems.append(
            f"Locust saw {agreement.locust} answers ({agreement.unanswered} requests unanswered), "
            f"the app server logged {agreement.server_log}"
        )
    for table, (expected, found) in agreement.audits.items():
        if not expected <= found <= expected + agreement.unanswered:
            problems.append(f"{table} should have gained {expected} rows and gained {found}")
    if agreement.database_transactions < agreement.database_requests:
        problems.append(
            f"{agreement.database_requests} requests touched the database, "
            f"which counts {agreement.database_transactions} transactions"
        )
    if aftermath.books.doubt:
        problems.append(aftermath.books.doubt)
    drives = [stretch.driven for stretch in [*evidence.stretches, *(step.stretch for step in evidence.steps)]]
    if lost := [one for one in drives if one.locust_requests != one.requests]:
        problems.append(
            f"Locust counted {lost[0].locust_requests} requests in a stretch, {lost[0].requests} were recorded"
        )
    if faults := [fault for one in drives for fault in one.faults]:
        problems.append(f"a request could not be recorded: {faults[0]}")
    return Verdict(status="invalid", reason="; ".join(problems)) if problems else Verdict(status="ok")


def raise_flags(evidence: Evidence, workers: Sequence[WorkerShare], sampler: SamplerQuality) -> list[Flag]:
    """What a reader should know of an attempt that stands all the same."""
    return [
        *_load_flags(evidence),
        *_host_flags(evidence),
        *_memory_flags(evidence),
        *_worker_flags(evidence, workers),
        *_sampler_flags(sampler),
    ]


def _load_flags(evidence: Evidence) -> list[Flag]:
    flags = []
    driven = [stretch.driven for stretch in evidence.stretches]
    busiest = max((one.busiest for one in driven), default=0.0)
    if busiest > GENERATOR_CPU:
        text = f"a process of the load generator used {busiest:.0%} of a core"
        flags.append(Flag(code="generator-saturated", text=text))
    if evidence.counted is not None and not evidence.counted.driven.steady:
        text = "the rate still climbed, or a worker had not answered, when the count ended"
        flags.append(Flag(code="not-steady", text=text))
    if evidence.steps:
        flags += _search_flags(evidence)
    if errors := [error for one in driven for error in one.script_errors]:
        flags.append(Flag(code="load-script-error", text=f"the traffic profile raised: {errors[0]}"))
    peaks = [peak for peak in (evidence.peak, evidence.client_peak) if peak is not None]
    flags += [Flag(code="peak-in-doubt", text=peak.doubt) for peak in peaks if peak.doubt]
    return flags


def _search_flags(evidence: Evidence) -> list[Flag]:
    last = evidence.steps[-1].found
    if evidence.held is None:
        text = f"no rate was held, down to {last.rate:.1f} requests/s: {last.reason}"
        return [Flag(code="nothing-held", text=text)]
    if evidence.failed is None:
        why = last.reason or "more is not tried"
        text = f"{evidence.held:.0f} requests/s were held, and no higher rate was missed: {why}"
        return [Flag(code="capacity-unbounded", text=text)]
    return []


def _host_flags(evidence: Evidence) -> list[Flag]:
    figures = host_figures(evidence)
    flags = []
    if figures.get("steal", 0.0) > STEAL:
        flags.append(
            Flag(code="host-disturbed", text=f"the hypervisor took {figures['steal']:.1%} of the CPU time away")
        )
    overflows, retransmits = figures.get("listen_overflows", 0), figures.get("syn_retransmits", 0)
    if overflows or retransmits:
        dropped = f"the kernel dropped {overflows:.0f} connections at a full listen queue"
        text = f"{dropped}; {retransmits:.0f} SYNs were sent again"
        flags.append(Flag(code="listen-overflow", text=text))
    return flags


def _memory_flags(evidence: Evidence) -> list[Flag]:
    """An app that still grows when it is warm leaks, or fills a cache."""
    seen = [memory for _, name, _, memory in evidence.host_rows if name == "app" and not math.isnan(memory)]
    if len(seen) < GROWTH_READINGS:
        return []
    middle, last = seen[len(seen) // 2], seen[-1]
    if last - middle < max(GROWTH * middle, GROWTH_BYTES):
        return []
    text = f"the app's memory grew from {middle / 1e6:.0f} to {last / 1e6:.0f} MB in the second half of the count"
    return [Flag(code="memory-grows", text=text)]


def _worker_flags(evidence: Evidence, workers: Sequence[WorkerShare]) -> list[Flag]:
    expected = evidence.cell.server.process_count
    if not workers:
        return []
    if len(workers) < expected:
        text = f"{len(workers)} of {expected} worker processes answered during the count"
        return [Flag(code="worker-idle", text=text)]
    share = workers[0].requests * len(workers) / sum(worker.requests for worker in workers)
    if share > SKEW:
        return [Flag(code="worker-skew", text=f"the busiest worker answered {share:.1f} times its even share")]
    return []


def _sampler_flags(sampler: SamplerQuality) -> list[Flag]:
    if sampler.taken and sampler.late / sampler.taken > SAMPLER_LATE:
        text = f"{sampler.late} of {sampler.taken} database samples came late"
        return [Flag(code="sampler-late", text=text)]
    return []


def host_figures(evidence: Evidence) -> dict[str, float]:
    """Machine-wide shares over all stretches of load, and the kernel's network events as counts."""
    pairs = [stretch.kernel for stretch in evidence.stretches]
    if not pairs:
        return {}
    seconds = sum(after.at - before.at for before, after in pairs)
    busy = sum(after.busy_seconds - before.busy_seconds for before, after in pairs)
    idle = sum(after.idle_seconds - before.idle_seconds for before, after in pairs)
    steal = sum(after.steal_seconds - before.steal_seconds for before, after in pairs)
    pressure = sum(after.cpu_pressure_seconds - before.cpu_pressure_seconds for before, after in pairs)
    total = busy + idle + steal
    return {
        "busy": busy / total if total else 0.0,
        "steal": steal / total if total else 0.0,
        "cpu_pressure": pressure / seconds if seconds else 0.0,
        "listen_overflows": float(sum(after.listen_overflows - before.listen_overflows for before, after in pairs)),
        "syn_retransmits": float(sum(after.syn_retransmits - before.syn_retransmits for before, after in pairs)),
    }
