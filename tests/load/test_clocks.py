"""The other clock is never further off than is stated, whatever the network does."""

import itertools
from time import monotonic, sleep

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.load import clocks
from runner.load.clocks import ClockReading, read_clock

DELAY = st.floats(0.0, 0.5)


@given(ahead=st.floats(-1e5, 1e5), delays=st.lists(st.tuples(DELAY, DELAY), min_size=1, max_size=20))
def test_the_error_holds_for_any_delays(ahead: float, delays: list[tuple[float, float]]) -> None:
    now = 1000.0
    trips = itertools.cycle(delays)

    def ask() -> float:
        nonlocal now
        there, back = next(trips)
        now += there
        theirs = now + ahead
        now += back
        return theirs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "monotonic", lambda: now)
        reading = read_clock(ask, len(delays))
    assert abs(reading.offset - ahead) <= reading.error + 1e-6
    assert reading.round_trip == pytest.approx(min(there + back for there, back in delays), abs=1e-6)


def test_the_quickest_of_the_exchanges_counts() -> None:
    pauses = iter([0.05, 0.0, 0.05])

    def ask() -> float:
        sleep(next(pauses))
        return monotonic() + 7.0

    reading = read_clock(ask, 3)
    assert abs(reading.offset - 7.0) <= reading.error < 0.05


def test_a_clock_that_drifts_is_known_less_well() -> None:
    first, later = ClockReading(5.0, 0.001, 0.002), ClockReading(5.004, 0.002, 0.004)
    both = first.confirmed_by(later)
    assert both.error == pytest.approx(0.006)
    assert (both.offset, both.round_trip) == (5.0, 0.004)
    steady = first.confirmed_by(ClockReading(5.0, 0.0005, 0.001))
    assert (steady.error, steady.round_trip) == (0.001, 0.002)


def test_there_and_back() -> None:
    reading = ClockReading(5.0, 0.001, 0.002)
    assert reading.to_other(1.0) == 6.0
    assert reading.to_ours(6.0) == 1.0
