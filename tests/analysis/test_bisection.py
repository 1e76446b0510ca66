"""Which version is judged next, and what the judged ones say: on every place where a slow-down can come."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.analysis.bisection import Finding, Outcome, conclude, next_version, outcome_of
from runner.analysis.gate import GateResult, GateVerdict, Look

LOOK = Look(blocks=[1, 2, 3], slowdown=0.2, low=0.1, high=0.3, spread=0.03)


def walk(versions: list[str], truth: dict[str, Outcome]) -> tuple[dict[str, Outcome], Finding]:
    """Judges until there is nothing more to find out."""
    seen: dict[str, Outcome] = {}
    while (version := next_version(versions, seen)) is not None:
        assert version not in seen
        seen[version] = truth[version]
    return seen, conclude(versions, seen)


@given(count=st.integers(2, 200), data=st.data())
def test_the_first_slow_one_is_found_in_few_steps(count: int, data: st.DataObject) -> None:
    versions = [f"1.{number}" for number in range(count)]
    first = data.draw(st.integers(1, count - 1))
    truth: dict[str, Outcome] = {v: "slow" if place >= first else "quick" for place, v in enumerate(versions)}
    seen, finding = walk(versions, truth)
    assert finding == Finding(verdict="found", quick=versions[first - 1], slow=versions[first])
    assert len(seen) <= 2 + math.ceil(math.log2(count))


@given(count=st.integers(3, 60), data=st.data())
def test_what_cannot_be_judged_narrows_nothing_and_is_named(count: int, data: st.DataObject) -> None:
    versions = [f"1.{number}" for number in range(count)]
    first = data.draw(st.integers(1, count - 1))
    truth: dict[str, Outcome] = {v: "slow" if place >= first else "quick" for place, v in enumerate(versions)}
    unknown = data.draw(st.sets(st.sampled_from(versions[1:-1])))
    seen, finding = walk(versions, truth | dict.fromkeys(unknown, "unknown"))
    between = [
        v for place, v in enumerate(versions) if versions.index(finding.quick) < place < versions.index(finding.slow)
    ]
    assert versions.index(finding.quick) < first <= versions.index(finding.slow)
    assert list(finding.unknown) == between
    assert set(between) <= unknown
    assert finding.verdict == ("narrowed" if between else "found")
    assert set(seen) - unknown <= set(truth)


@pytest.mark.parametrize(
    ("bad", "verdict"), [("quick", "level"), ("unknown", "underpowered"), ("slow", "unfinished"), (None, "unfinished")]
)
def test_the_bad_one_is_judged_first(bad: Outcome | None, verdict: str) -> None:
    versions = ["1.0", "1.1", "1.2"]
    assert next_version(versions, {}) == "1.2"
    seen: dict[str, Outcome] = {"1.2": bad} if bad else {}
    assert next_version(versions, seen) == ({"slow": "1.1", None: "1.2"}.get(bad))
    assert conclude(versions, seen).verdict == verdict


@pytest.mark.parametrize(
    ("verdict", "look", "outcome"),
    [
        ("fail", LOOK, "slow"),
        ("fail", None, "unknown"),
        ("pass", LOOK, "quick"),
        ("warn", LOOK, "unknown"),
        ("underpowered", LOOK, "unknown"),
        (None, LOOK, "unknown"),
    ],
)
def test_only_a_sure_verdict_on_a_speed_counts(verdict: GateVerdict | None, look: Look | None, outcome: str) -> None:
    """A candidate that failed in every block has no speed: it is no slow one."""
    assert outcome_of(GateResult(limit=0.05, verdict=verdict, reason="", first=look)) == outcome
