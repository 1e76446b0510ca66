"""Between which two versions a slow-down came: which one to judge next, and what the judged ones say.

Pure decisions on a list of versions from the good one to the bad one. A version is slow or quick by the gate's verdict
against the good one; what the gate cannot tell stays unknown, and narrows nothing down.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from runner.analysis.gate import GateResult, GateVerdict, Look
from runner.models import Strict
from runner.results.schema import SCHEMA_VERSION

Outcome = Literal["slow", "quick", "unknown"]
#: `found`: between two neighbours. `narrowed`: versions between them could not be judged. `level`: the bad one is not
#: slower by more than the limit. `underpowered`: not even that could be told. `unfinished`: it was broken off.
BisectVerdict = Literal["found", "narrowed", "level", "underpowered", "unfinished"]


class Step(Strict):
    """One version held against the good one. `run` is the folder of its gate; empty where there was none."""

    version: str
    outcome: Outcome
    gate: GateVerdict | None
    reason: str
    run: str = ""
    look: Look | None = None


class Passed(Strict):
    """A version between the two that is not judged, and why."""

    version: str
    reason: str


class Bisection(Strict):
    """bisect-….json: what was asked for and every step up to now, so that it can go on where it was broken off.

    `versions` are those that are judged, from the good one to the bad one.
    """

    schema_version: int = SCHEMA_VERSION
    package: str
    limit: float
    versions: Sequence[str]
    passed: Sequence[Passed] = ()
    steps: Sequence[Step] = ()

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        return {step.version: step.outcome for step in self.steps}


class Finding(Strict):
    """What the steps come to: `quick` is the last version known to be so, `slow` the first; `unknown` lie between."""

    verdict: BisectVerdict
    quick: str = ""
    slow: str = ""
    unknown: Sequence[str] = ()
    reason: str = ""


def outcome_of(result: GateResult) -> Outcome:
    """A candidate that fails altogether has no speed: it is no slow one."""
    if result.verdict == "fail" and result.first is not None:
        return "slow"
    return "quick" if result.verdict == "pass" else "unknown"


def next_version(versions: Sequence[str], outcomes: Mapping[str, Outcome]) -> str | None:
    """The version to judge next: the bad one first, then the one nearest to the middle of what is open.

    None where nothing more can be found out.
    """
    bad = versions[-1]
    if bad not in outcomes:
        return bad
    if outcomes[bad] != "slow":
        return None
    quick, slow = _bracket(versions, outcomes)
    middle = (quick + slow) / 2
    untried = [place for place in range(quick + 1, slow) if versions[place] not in outcomes]
    return versions[min(untried, key=lambda place: abs(place - middle))] if untried else None


def conclude(versions: Sequence[str], outcomes: Mapping[str, Outcome]) -> Finding:
    """What is known by now."""
    good, bad = versions[0], versions[-1]
    seen = outcomes.get(bad)
    if seen is None:
        return Finding(verdict="unfinished", quick=good, slow=bad, reason=f"{bad} has not been judged")
    if seen == "quick":
        return Finding(verdict="level", quick=bad, reason=f"{bad} is not slower than {good} by more than the limit")
    if seen == "unknown":
        return Finding(verdict="underpowered", reason=f"it could not be told whether {bad} is slower than {good}")
    quick, slow = _bracket(versions, outcomes)
    between = versions[quick + 1 : slow]
    ends = {"quick": versions[quick], "slow": versions[slow]}
    if not between:
        return Finding(verdict="found", **ends)
    if any(version not in outcomes for version in between):
        return Finding(verdict="unfinished", unknown=between, reason="it was broken off", **ends)
    return Finding(verdict="narrowed", unknown=between, reason="the versions between could not be judged", **ends)


def _bracket(versions: Sequence[str], outcomes: Mapping[str, Outcome]) -> tuple[int, int]:
    """Places of the last quick version before the first slow one, and of that; the good one is quick."""
    slow = min(place for place, version in enumerate(versions) if outcomes.get(version) == "slow")
    quick = max((place for place, version in enumerate(versions[:slow]) if outcomes.get(version) == "quick"), default=0)
    return quick, slow
