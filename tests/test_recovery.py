"""What a fault did to the requests, from records whose story is known."""

import pandas as pd
import pytest

from runner.evidence import Strike
from runner.recovery import recoveries
from tests.evidences import ZERO, evidence, stretch

DRIVES = [stretch(0.0, 10.0, 1000)]


def requests(*stretches: tuple[float, float, bool], every: float = 0.01) -> pd.DataFrame:
    """One request after another, each of 5 ms, from start to end of each stretch: successes or failures."""
    rows = [
        (start + every * number, 5.0, "" if ok else "HTTP 500")
        for start, end, ok in stretches
        for number in range(round((end - start) / every))
    ]
    return pd.DataFrame(rows, columns=["offset", "service_ms", "error"])


def strike(begun: float, ended: float) -> Strike:
    return Strike("restart-database", ZERO + begun, ZERO + ended)


def test_failures_then_recovery() -> None:
    seen = requests((0, 4, True), (4, 5, False), (5, 9, True))
    (found,) = recoveries(evidence(drives=DRIVES, strikes=[strike(4.0, 4.4)]), seen)
    assert found.fault == "restart-database"
    assert found.offset == pytest.approx(4.0)
    assert found.seconds == pytest.approx(0.4)
    assert (found.requests, found.failed_requests) == (500, 100)
    assert found.seconds_to_first_success == pytest.approx(1.005)
    assert found.seconds_to_steady == 1.0


def test_a_server_that_is_told_to_stop_may_answer_for_a_moment() -> None:
    seen = requests((0, 4.5, True), (4.5, 6, False), (6, 9, True))
    (found,) = recoveries(evidence(drives=DRIVES, strikes=[strike(4.0, 5.9)]), seen)
    assert found.seconds_to_first_success == pytest.approx(2.005)
    assert found.seconds_to_steady == 2.0


def test_a_pause_fails_nothing_and_takes_its_time() -> None:
    seen = requests((0, 4, True), (5.5, 9, True))
    (found,) = recoveries(evidence(drives=DRIVES, strikes=[strike(4.0, 5.5)]), seen)
    assert found.failed_requests == 0
    assert found.seconds_to_first_success == pytest.approx(1.505)
    assert found.seconds_to_steady == 1.5


def test_one_that_never_recovers() -> None:
    seen = requests((0, 4, True), (4, 9, False))
    (found,) = recoveries(evidence(drives=DRIVES, strikes=[strike(4.0, 4.1)]), seen)
    assert (found.failed_requests, found.seconds_to_first_success, found.seconds_to_steady) == (500, None, None)


def test_half_the_rate_is_back_and_less_is_not() -> None:
    slow = pd.concat([requests((0, 4, True)), requests((4, 9, True), every=0.03)])
    (found,) = recoveries(evidence(drives=DRIVES, strikes=[strike(4.0, 4.1)]), slow)
    assert found.seconds_to_steady is None
    fair = pd.concat([requests((0, 4, True)), requests((4, 5, True), every=0.03), requests((5, 9, True), every=0.015)])
    (found,) = recoveries(evidence(drives=DRIVES, strikes=[strike(4.0, 4.1)]), fair)
    assert found.seconds_to_steady == 1.0


def test_each_fault_has_its_own_stretch() -> None:
    seen = requests((0, 2, True), (2, 2.5, False), (2.5, 5, True), (5, 5.25, False), (5.25, 9, True))
    first, second = recoveries(evidence(drives=DRIVES, strikes=[strike(2.0, 2.1), strike(5.0, 5.1)]), seen)
    assert (first.failed_requests, second.failed_requests) == (50, 25)
    assert (first.seconds_to_steady, second.seconds_to_steady) == (0.5, 0.25)


def test_a_fault_before_any_load() -> None:
    (found,) = recoveries(
        evidence(drives=[stretch(6.0, 3.0, 300)], strikes=[strike(4.0, 4.1)]), requests((6, 6.1, False), (6.1, 9, True))
    )
    assert found.failed_requests == 10
    assert found.seconds_to_first_success == pytest.approx(2.105)
    assert found.seconds_to_steady == 2.25


def test_no_fault_and_no_request() -> None:
    assert recoveries(evidence(drives=DRIVES), requests((0, 9, True))) == []
    (found,) = recoveries(evidence(strikes=[strike(1.0, 2.0)]), requests((0, 0, True)))
    assert (found.requests, found.seconds_to_first_success, found.seconds_to_steady) == (0, None, None)
