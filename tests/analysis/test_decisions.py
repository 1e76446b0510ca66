"""Verdicts on families, and their words."""

import math

import pytest

from runner.analysis.decisions import is_doubted, judge, judgement_text, would_have_seen
from runner.analysis.inference import Estimate, paired
from runner.analysis.model import ComparisonVerdict, Ratio


@pytest.mark.parametrize(
    ("verdict", "figures", "text"),
    [
        ("distinguishable", (1.84, 1.79, 1.90, 0.02), "1.84× (1.79–1.90)"),
        ("not distinguishable", (1.01, 0.98, 1.04, 0.06), "not distinguishable (would have seen 6 %)"),
        ("not distinguishable", (1.0, 1.0, 1.0, 0.0), "not distinguishable (would have seen 0.0 %)"),
        ("distinguishable", (0.052, 0.051, 0.053, 0.01), "0.052× (0.051–0.053)"),
        ("distinguishable", (123.4, 99.5, 150.0, 0.2), "123× (99.5–150)"),
        ("underpowered", (2.0, 0.1, 40.0, 0.46), "underpowered (would have seen 46 %)"),
        ("underpowered", (2.0, 0.1, 40.0, 30.0), "underpowered (would have seen 31×)"),
        ("no interval", (1.84, None, None, None), "1.84× (one block: no interval)"),
    ],
)
def test_words(
    verdict: ComparisonVerdict, figures: tuple[float, float | None, float | None, float | None], text: str
) -> None:
    assert judgement_text(verdict, *figures) == text


def test_a_difference_too_large_to_name_is_not_named() -> None:
    assert would_have_seen(1e20) == "would have seen nothing"


def test_what_is_clear_alone_may_not_be_in_a_family() -> None:
    clear = paired([0.05, 0.06, 0.07, 0.055])
    dull = paired([0.01, -0.01, 0.012, -0.008])
    assert judge([clear])[0].verdict == "distinguishable"
    large = judge([clear, *[dull] * 99])
    assert large[0].verdict == "not distinguishable"
    assert large[0].family == 100
    assert large[0].p_adjusted == pytest.approx((large[0].p or 0) * 100)
    assert (large[0].detectable or 0) > (judge([clear])[0].detectable or 0)


def test_a_family_counts_only_what_is_tested() -> None:
    single = paired([0.5])
    found = judge([single, paired([0.5, 0.51, 0.52])])
    assert (found[0].verdict, found[0].family, found[1].family) == ("no interval", 0, 1)
    assert judge([]) == []


def test_two_blocks_are_underpowered_however_clear_they_look() -> None:
    (found,) = judge([paired([0.693, 0.693])])
    assert (found.verdict, found.p) == ("underpowered", 0)
    assert found.value == pytest.approx(math.exp(0.693))


def test_finding_nothing_where_only_much_would_have_been_found_is_underpowered() -> None:
    narrow, wide = (judge([Estimate(0.0, error, 4, 5)])[0] for error in (0.02, 0.2))
    assert (narrow.verdict, wide.verdict) == ("not distinguishable", "underpowered")


@pytest.mark.parametrize(("p", "doubted"), [(None, False), (0.03, False), (0.2, True)])
def test_a_difference_that_the_sign_flips_do_not_confirm_is_doubted(p: float | None, doubted: bool) -> None:
    judged = judge([paired([0.5, 0.51, 0.52])])[0].model_dump()
    assert is_doubted(Ratio(cell="a", reference="r", metric="m", sign_flip_p=p, **judged)) is doubted
