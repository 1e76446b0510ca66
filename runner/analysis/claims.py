"""A documented claim judged by what a run showed: from its summary alone."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from runner.analysis.model import CellSummary, Number, Summary
from runner.matrix.axes import selects
from runner.matrix.spec import ClaimSpec, Expectation
from runner.models import Strict
from runner.results.schema import SCHEMA_VERSION, HostRecord

ClaimVerdict = Literal["holds", "holds with a condition", "does not hold", "not measured"]


class Finding(Strict):
    """One bound and what each of the cells that it is about came to; `low` and `high` are None where none did."""

    metric: str
    bound: str
    cells: Sequence[str]
    low: float | None
    high: float | None
    holds: bool


class JudgedClaim(Strict):
    """`condition` is under which it holds, or why it was not measured; `findings` are the bounds as documented."""

    number: int
    says: str
    page: str
    url: str
    how: str
    verdict: ClaimVerdict
    condition: str
    findings: Sequence[Finding]
    versions: Sequence[str]
    run: str
    measured_at: str
    wall_seconds: float


class KeptClaims(Strict):
    """results/claims/claims.json: the last answer to each claim, of which docs/claims.md is made."""

    schema_version: int = SCHEMA_VERSION
    host: HostRecord
    claims: Sequence[JudgedClaim]


def judge_claim(claim: ClaimSpec, expect: Sequence[Expectation], summary: Summary) -> JudgedClaim:
    """What the run says of the claim, as `ClaimSpec` explains; a bound whose cells were not measured says nothing."""
    findings = [_finding(one, summary) for one in expect]
    verdict, condition = _verdict(claim, findings, summary)
    return JudgedClaim(
        number=claim.number,
        says=claim.says,
        page=claim.page,
        url=claim.url,
        how=claim.how,
        verdict=verdict,
        condition=condition,
        findings=findings,
        versions=_versions(claim, summary),
        run=summary.run.folder,
        measured_at=summary.run.started_at,
        wall_seconds=summary.run.wall_seconds or 0.0,
    )


def _verdict(claim: ClaimSpec, findings: Sequence[Finding], summary: Summary) -> tuple[ClaimVerdict, str]:
    if findings and all(finding.holds for finding in findings):
        return "holds", ""
    for condition in claim.conditions:
        if all(_finding(one, summary).holds for one in condition.expect):
            return "holds with a condition", condition.says
    if not findings or any(finding.low is None for finding in findings):
        return "not measured", _why_not(summary)
    return "does not hold", ""


def _why_not(summary: Summary) -> str:
    bad = [cell for cell in summary.cells if cell.status not in ("ok", "skipped")]
    return f"{bad[0].id}: {bad[0].status}: {bad[0].reason}" if bad else "no cell has a figure for one of the bounds"


def _finding(expectation: Expectation, summary: Summary) -> Finding:
    """One bound over its cells. A cell that was not measured breaks it, as does a bound that is about no cell."""
    cells = [cell for cell in summary.cells if cell.status != "skipped" and selects(expectation.where, cell.axes)]
    numbers = [_number(cell, expectation.metric) for cell in cells]
    known = [number for number in numbers if number is not None]
    complete = bool(known) and len(known) == len(numbers)
    low = min((number.low for number in known), default=None) if complete else None
    high = max((number.high for number in known), default=None) if complete else None
    least, most = expectation.at_least, expectation.at_most
    holds = low is not None and high is not None
    holds = holds and (least is None or low >= least) and (most is None or high <= most)  # type: ignore[operator]
    return Finding(
        metric=expectation.metric,
        bound=_bound(least, most),
        cells=[cell.id for cell in cells],
        low=low,
        high=high,
        holds=holds,
    )


def _bound(least: float | None, most: float | None) -> str:
    if least is not None and least == most:
        return f"{least:g}"
    parts = [f"at least {least:g}"] if least is not None else []
    return " and ".join([*parts, *([f"at most {most:g}"] if most is not None else [])])


def _number(cell: CellSummary, metric: str) -> Number | None:
    """The figure by its dotted name. Errors count of a cell that failed, too; nothing else of it does."""
    here: object = cell.metrics
    for part in metric.split("."):
        here = here.get(part) if isinstance(here, Mapping) else getattr(here, part, None)
    return here if isinstance(here, Number) else None


def _versions(claim: ClaimSpec, summary: Summary) -> list[str]:
    """The databases, and the packages that the claim names, in the environments of the run."""
    products = [database.product for database in summary.run.databases]
    packages = [
        f"{name.partition('/')[2]} {version}"
        for name, version in summary.run.versions.items()
        if name.partition("/")[2] in claim.packages
    ]
    return list(dict.fromkeys([*products, *packages]))


def unmeasured(claims: Iterable[JudgedClaim]) -> list[JudgedClaim]:
    """Those of which the run could say nothing."""
    return [claim for claim in claims if claim.verdict == "not measured"]
