"""The one poll loop."""

import time

import pytest

from runner import waiting


def test_it_returns_what_the_probe_found_as_soon_as_it_did() -> None:
    answers = iter([None, None, "there", "too late"])
    begun = time.monotonic()
    assert waiting.wait_for(lambda: next(answers), limit=60, every=0.01) == "there"
    assert time.monotonic() - begun >= 0.02
    assert next(answers) == "too late", "it was not asked again"


@pytest.mark.parametrize("found", [0, False, ""])
def test_only_none_means_not_yet(found: object) -> None:
    assert waiting.wait_for(lambda: found, limit=0) is found


def test_none_once_the_time_is_up() -> None:
    calls = []
    begun = time.monotonic()
    assert waiting.wait_for(lambda: calls.append(1), limit=0.1, every=0.02) is None
    assert time.monotonic() - begun >= 0.1
    assert 1 < len(calls) <= 7


def test_no_time_at_all_is_one_look() -> None:
    calls = []
    assert waiting.wait_for(lambda: calls.append(1), limit=0) is None
    assert len(calls) == 1


def test_it_looks_once_more_after_the_last_sleep() -> None:
    """What comes up during the last sleep was in time."""
    begun = time.monotonic()
    found = waiting.wait_for(lambda: "up" if time.monotonic() - begun >= 0.05 else None, limit=0.03, every=0.06)
    assert found == "up"


def test_what_a_probe_raises_comes_through() -> None:
    def probe() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        waiting.wait_for(probe, limit=60)
