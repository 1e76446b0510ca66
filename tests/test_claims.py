"""The experiments' files, what is kept of their answers, and the page that is made of it."""

from pathlib import Path

import pytest

from runner import claims as trying
from runner.analysis.claims import Finding, JudgedClaim, KeptClaims
from runner.claims import KEPT, PAGE, experiments, keep_claim
from runner.errors import UsageError
from runner.host import describe_host
from runner.matrix.expansion import expand
from runner.plan import make_plan
from runner.report.claims import claims_page
from runner.results.store import read_json

MATRIX = """name: small
claim: {number: 3, says: It is so., page: A page, url: "https://example.org", how: By trying.%s}
databases: {pg: {engine: postgres}}
servers: {sync: {kind: gunicorn}}
connections: {none: {}}
matrix: {database: [pg]}
expect: [{connections.opened: {at_most: 4}}]
"""
SOME_MINUTES = 4 * 60
ALL_MINUTES = 25 * 60


def judged(number: int, verdict: str = "holds", condition: str = "") -> JudgedClaim:
    finding = Finding(
        metric="connections.opened", bound="at most 4", cells=["pg-sync-none"], low=3.0, high=4.0, holds=True
    )
    return JudgedClaim.model_validate(
        {
            "number": number,
            "says": "It is so.",
            "page": "A page",
            "url": "https://example.org",
            "how": "By trying.",
            "verdict": verdict,
            "condition": condition,
            "findings": [finding],
            "versions": ["PostgreSQL 15.18", "django 5.2.19"],
            "run": "some-run",
            "measured_at": "2026-11-21T20:00:00+00:00",
            "wall_seconds": 40.0,
        }
    )


def test_every_experiment_is_whole_and_short() -> None:
    found = experiments()
    assert [experiment.claim.number for experiment in found] == list(range(1, 14))
    seconds = []
    for experiment in found:
        plan = make_plan(expand(experiment.matrix), experiment.matrix, seed=1)
        assert experiment.matrix.expect, experiment.path
        assert experiment.matrix.name == f"claim-{experiment.claim.number}"
        assert plan.estimated_seconds < SOME_MINUTES, experiment.path
        seconds.append(plan.estimated_seconds)
    assert sum(seconds) < ALL_MINUTES


def test_the_page_is_what_was_kept() -> None:
    kept = read_json(KEPT, KeptClaims)
    assert PAGE.read_text("utf-8") == claims_page(kept.host, kept.claims), "run `make claims`"
    assert [claim.number for claim in kept.claims] == [experiment.claim.number for experiment in experiments()]


def test_a_claim_takes_the_place_of_its_last_answer(tmp_path: Path) -> None:
    kept, page = tmp_path / "kept" / "claims.json", tmp_path / "claims.md"
    for one in (judged(4), judged(2, "does not hold"), judged(4, "holds with a condition", "on Mondays")):
        keep_claim(one, kept, page)
    record = read_json(kept, KeptClaims)
    assert [(claim.number, claim.verdict) for claim in record.claims] == [
        (2, "does not hold"),
        (4, "holds with a condition"),
    ]
    text = page.read_text("utf-8")
    assert (
        "| [4](#claim-4) | It is so. | [A page](https://example.org) | **holds with a condition**: on Mondays |" in text
    )
    assert "| `pg-sync-none` | `connections.opened` | at most 4 | 3–4 | ✓ |" in text


def test_answers_of_another_machine_are_not_kept_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, page = tmp_path / "claims.json", tmp_path / "claims.md"
    keep_claim(judged(1), kept, page)
    other = describe_host().model_copy(update={"fingerprint": "another"})
    monkeypatch.setattr(trying, "describe_host", lambda: other)
    keep_claim(judged(2), kept, page)
    assert [claim.number for claim in read_json(kept, KeptClaims).claims] == [2]


def test_conditions_are_read_flat_and_checked(tmp_path: Path) -> None:
    condition = ", conditions: [{says: on Mondays, expect: [{where: {connection: %s}, %s: {at_least: 1}}]}]"
    good = tmp_path / "good.yaml"
    good.write_text(MATRIX % (condition % ("none", "errors.total")))
    (experiment,) = experiments(tmp_path)
    (only,) = experiment.claim.conditions
    assert (only.says, only.expect[0].metric, only.expect[0].at_least) == ("on Mondays", "errors.total", 1)
    good.write_text(MATRIX % (condition % ("nine", "errors.totl")))
    with pytest.raises(UsageError) as refused:
        experiments(tmp_path)
    assert "claim.conditions.0.expect.0.errors.totl: no such metric" in str(refused.value)
    assert "found 'nine', allowed: none; did you mean 'none'?" in str(refused.value)


def test_a_file_without_claim_or_with_a_number_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MATRIX % "")
    (tmp_path / "b.yaml").write_text(MATRIX % "")
    with pytest.raises(UsageError, match=r"b.yaml: claim 3 is that of a.yaml already"):
        experiments(tmp_path)
    lines = (MATRIX % "").splitlines(keepends=True)
    (tmp_path / "b.yaml").write_text("".join(line for line in lines if not line.startswith("claim")))
    with pytest.raises(UsageError, match=r"b.yaml: no `claim:`"):
        experiments(tmp_path)
