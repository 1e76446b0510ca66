"""Where and on what it ran, how noisy that was, and what was left out."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.analysis.model import CellSummary
from runner.report.page.data import RunData
from runner.report.wording import three_digits
from runner.results.schema import LoadHostRecord

#: How a host's figures are called, and as what they are shown: a share, or a count.
_HOST_FIGURES = {
    "busy": ("CPU busy", True),
    "cpu_busy": ("CPU busy", True),
    "steal": ("CPU stolen by the hypervisor", True),
    "cpu_pressure": ("Time in which something waited for a CPU", True),
    "listen_overflows": ("Listen queue overflows", False),
    "syn_retransmits": ("SYNs sent again", False),
}


@dataclass(frozen=True)
class Noise:
    """A figure over all attempts."""

    title: str
    median: str
    most: str


@dataclass(frozen=True)
class LoadHost:
    """Another host that drove the load, over all attempts: the clock where it was known least."""

    name: str
    workers: int
    requests: int
    offset: str
    error: str


@dataclass(frozen=True)
class EnvironmentSection:
    versions: Mapping[str, Mapping[str, str]]
    noise: Sequence[Noise]
    load_hosts: Sequence[LoadHost]
    skipped: Mapping[str, Sequence[CellSummary]]


def environment_section(data: RunData) -> EnvironmentSection:
    """Versions by environment, noise, skipped cells by reason."""
    versions: dict[str, dict[str, str]] = {}
    for name, version in sorted(data.summary.run.versions.items()):
        environment, _, package = name.rpartition("/")
        versions.setdefault(environment, {})[package] = version
    skipped: dict[str, list[CellSummary]] = {}
    for cell in data.skipped:
        skipped.setdefault(cell.reason, []).append(cell)
    return EnvironmentSection(versions, _noise(data), _load_hosts(data), skipped)


def _load_hosts(data: RunData) -> list[LoadHost]:
    told = [one for cell in data.cells for record in cell.attempts for one in record.load_hosts]
    return [_load_host([one for one in told if one.host == name]) for name in sorted({one.host for one in told})]


def _load_host(records: Sequence[LoadHostRecord]) -> LoadHost:
    worst = max(records, key=lambda one: one.clock_error_ms)
    return LoadHost(
        name=worst.host,
        workers=max(one.workers for one in records),
        requests=sum(one.requests for one in records),
        offset=f"{worst.clock_offset_ms:,.3f} ms",
        error=f"± {worst.clock_error_ms:.3f} ms",
    )


def _noise(data: RunData) -> list[Noise]:
    attempts = [record for cell in data.cells for record in cell.attempts]
    found = []
    for name in dict.fromkeys(name for record in attempts for name in record.host):
        title, is_share = _HOST_FIGURES.get(name, (name.replace("_", " "), False))
        values = [record.host[name] for record in attempts if name in record.host]
        found.append(_over(title, values, " %" if is_share else "", 100 if is_share else 1))
    samplers = [record.sampler for record in attempts if record.sampler is not None and record.sampler.taken]
    late = [100 * sampler.late / sampler.taken for sampler in samplers]
    if late:
        found.append(_over("Looks at the database that came late", late, " %"))
    spreads = [
        100 * (rate.high / rate.low - 1)
        for cell in data.cells
        if (rate := cell.number_of("throughput_rps")) is not None and rate.n > 1 and rate.low > 0
    ]
    if spreads:
        found.append(_over("Throughput, best block above worst, by cell", spreads, " %"))
    return found


def _over(title: str, values: Sequence[float], unit: str, factor: float = 1) -> Noise:
    middle, most = statistics.median(values) * factor, max(values) * factor
    return Noise(title, f"{three_digits(middle)}{unit}", f"{three_digits(most)}{unit}")
