"""The documented claims beside what was measured: a row on the terminal, and docs/claims.md."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from runner.analysis.claims import Finding, JudgedClaim
from runner.report.wording import three_digits, whole
from runner.results.schema import HostRecord

_STYLES = {"holds": "green", "holds with a condition": "yellow", "does not hold": "red", "not measured": "dim"}

_HEAD = """# Documented claims, tried

What documentation and folklore say of Django's database connections, each tried on real servers by a matrix of
`matrices/documented/`. Made by `make claims` from `results/claims/claims.json`; `make claims ONLY=3` tries one anew.
A claim holds if each bound of the matrix's `expect:` does; with a condition if the bounds of that condition do (they
are in the matrix's `claim:`). Counts are the database's own books; speeds belong to the machine named here.
"""


def print_claim(claim: JudgedClaim, console: Console) -> None:
    """One claim: what is said and where, what was measured on which versions, the verdict."""
    verdict = Text(f"{claim.number}. {claim.verdict}", f"bold {_STYLES[claim.verdict]}")
    if claim.condition:
        verdict.append(f": {claim.condition}", "not bold")
    console.print(verdict, highlight=False, soft_wrap=True)
    for line in (f"{claim.says} ({claim.page})", measured(claim), ", ".join(claim.versions)):
        console.print(f"   {line}", highlight=False, soft_wrap=True, markup=False)


def measured(claim: JudgedClaim) -> str:
    """Every bound with what was found: `connections.opened 4 (at most 4) ✓`."""
    return "; ".join(
        f"{finding.metric} {_range(finding)} ({finding.bound}) {_mark(finding)}" for finding in claim.findings
    )


def claims_page(host: HostRecord, claims: Sequence[JudgedClaim]) -> str:
    """docs/claims.md"""
    return "\n".join(_page(host, claims)) + "\n"


def _page(host: HostRecord, claims: Sequence[JudgedClaim]) -> Iterator[str]:
    yield _HEAD
    yield f"{host.cpu}, {host.cores} cores, {host.system}.\n"
    yield "| | claimed | where | verdict |"
    yield "|---|---|---|---|"
    for claim in claims:
        verdict = f"**{claim.verdict}**" + (f": {claim.condition}" if claim.condition else "")
        yield f"| [{claim.number}](#claim-{claim.number}) | {claim.says} | [{claim.page}]({claim.url}) | {verdict} |"
    for claim in claims:
        yield from _section(claim)


def _section(claim: JudgedClaim) -> Iterator[str]:
    yield f"\n## Claim {claim.number}\n"
    yield f"{claim.says}\n"
    yield f"{claim.how} {', '.join(claim.versions)}; {claim.wall_seconds:.0f} s on {claim.measured_at[:10]}.\n"
    yield "| cells | metric | documented | measured | |"
    yield "|---|---|---|---|---|"
    for finding in claim.findings:
        cells = ", ".join(f"`{name}`" for name in finding.cells)
        row = (cells, f"`{finding.metric}`", finding.bound, _range(finding), _mark(finding))
        yield f"| {' | '.join(row)} |"


def _mark(finding: Finding) -> str:
    return "✓" if finding.holds else "✗"


def _range(finding: Finding) -> str:
    """`4`, or `4–16` where cells or blocks differ."""
    if finding.low is None or finding.high is None:
        return "not measured"
    low, high = _shown(finding.low), _shown(finding.high)
    return low if low == high else f"{low}–{high}"


def _shown(value: float) -> str:
    return whole(value) if value == int(value) else three_digits(value)
