"""`connbench claims`: every documented claim as an experiment, one run a claim, judged by its summary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from runner.analysis.claims import JudgedClaim, KeptClaims, judge_claim
from runner.analysis.summary import write_summary
from runner.bench import Options, measure
from runner.errors import UsageError
from runner.host import describe_host
from runner.matrix.reading import PROJECT, read_matrix
from runner.matrix.spec import ClaimSpec, MatrixFile
from runner.report.claims import claims_page, print_claim
from runner.report.html import write_report
from runner.results.store import read_json, write_json

MATRICES = PROJECT / "matrices" / "documented"
KEPT = PROJECT / "results" / "claims" / "claims.json"
PAGE = PROJECT / "docs" / "claims.md"


@dataclass(frozen=True)
class Experiment:
    path: Path
    matrix: MatrixFile
    claim: ClaimSpec


def experiments(folder: Path = MATRICES) -> list[Experiment]:
    """The experiments by the numbers of their claims; UsageError for a file without claim or a number twice."""
    found: dict[int, Experiment] = {}
    for path in sorted(folder.glob("*.yaml")):
        matrix = read_matrix(path)
        if matrix.claim is None:
            raise UsageError(f"{path}: no `claim:`, so there is nothing to judge")
        number = matrix.claim.number
        if number in found:
            raise UsageError(f"{path}: claim {number} is that of {found[number].path.name} already")
        found[number] = Experiment(path, matrix, matrix.claim)
    return [found[number] for number in sorted(found)]


def run_claims(only: Sequence[int], out: Path, wait: bool, results: Console, messages: Console) -> int:
    """Runs and judges the claims, all or those numbered; 1 if one could not be measured, 130 if interrupted.

    A claim that does not hold is a result, not a failure.
    """
    chosen = _chosen(experiments(), only)
    code = 0
    for experiment in chosen:
        messages.print(f"claim {experiment.claim.number}: {experiment.path.name}", highlight=False)
        options = Options(experiment.path, out, wait=wait, command=f"connbench claims --only {experiment.claim.number}")
        folder, end = measure(options, messages)
        if end.status == "interrupted":
            return 130
        summary = write_summary(folder)
        write_report(folder, summary)
        judged = judge_claim(experiment.claim, experiment.matrix.expect, summary)
        print_claim(judged, results)
        if judged.verdict == "not measured":
            code = 1
        else:
            keep_claim(judged)
    return code


def keep_claim(judged: JudgedClaim, kept: Path = KEPT, page: Path = PAGE) -> None:
    """Puts one answer in the place of the claim's last one, and makes the page anew."""
    host = describe_host()
    earlier = read_json(kept, KeptClaims) if kept.exists() else None
    # Answers of two machines are not one table.
    same = earlier.claims if earlier is not None and earlier.host.fingerprint == host.fingerprint else ()
    claims: Mapping[int, JudgedClaim] = {**{one.number: one for one in same}, judged.number: judged}
    record = KeptClaims(host=host, claims=[claims[number] for number in sorted(claims)])
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_json(kept, record)
    page.write_text(claims_page(record.host, record.claims), "utf-8")


def _chosen(found: Sequence[Experiment], only: Sequence[int]) -> list[Experiment]:
    known = [experiment.claim.number for experiment in found]
    if unknown := [number for number in only if number not in known]:
        raise UsageError(f"there is no claim {unknown[0]}; there are {', '.join(map(str, known))}")
    return [experiment for experiment in found if not only or experiment.claim.number in only]
