"""The rules by which an attempt is invalid or carries a flag: each is broken once, alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from runner import flags
from runner.evidence import Evidence
from runner.results.schema import Agreement, SamplerQuality, WorkerShare
from runner.stacks.databases.base import Books, Peak
from tests.evidences import aftermath, evidence, kernel, stretch

GOOD_SAMPLER = SamplerQuality(asked_per_second=20, taken=1000, late=50, achieved_per_second=20, cpu_seconds=1)
GOOD_WORKERS = (WorkerShare(pid=1, requests=60, threads=1), WorkerShare(pid=2, requests=40, threads=1))


def agreement(**more: Any) -> Agreement:
    values: dict[str, Any] = {
        "locust": 100,
        "unanswered": 0,
        "server_log": 100,
        "audits": {"orders_order": (10, 10)},
        "database_requests": 90,
        "database_transactions": 90,
    }
    return Agreement.model_validate({**values, **more})


def codes(
    seen: Evidence, workers: Sequence[WorkerShare] = GOOD_WORKERS, sampler: SamplerQuality = GOOD_SAMPLER
) -> list[str]:
    return [flag.code for flag in flags.raise_flags(seen, workers, sampler)]


def test_counts_that_agree_are_ok() -> None:
    assert flags.judge(agreement(), evidence(), aftermath()).status == "ok"


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        ({"server_log": 99}, "Locust saw 100 answers (0 requests unanswered), the app server logged 99"),
        ({"server_log": 101}, "the app server logged 101"),
        ({"unanswered": 3, "server_log": 104}, "(3 requests unanswered), the app server logged 104"),
        ({"audits": {"orders_order": (10, 9)}}, "orders_order should have gained 10 rows and gained 9"),
        ({"audits": {"orders_order": (10, 11)}}, "gained 11"),
        ({"database_transactions": 89}, "90 requests touched the database, which counts 89 transactions"),
    ],
)
def test_counts_that_disagree_are_invalid_with_the_figures(spoilt: dict[str, Any], words: str) -> None:
    verdict = flags.judge(agreement(**spoilt), evidence(), aftermath())
    assert verdict.status == "invalid"
    assert words in verdict.reason


@pytest.mark.parametrize(
    ("readings", "grows"),
    [
        ([100, 180, 200, 200, 205, 210], False),  # a cold start
        ([100, 180, 200, 220, 240, 270], False),  # a cache that fills
        ([20, 20, 22, 24, 28, 40], False),  # too little to tell
        ([100, 180, 200, 220, 260, 300], True),
        ([100, 200, 300], False),  # too short to tell
    ],
)
def test_memory_that_grows_when_all_is_warm(readings: Sequence[int], grows: bool) -> None:
    rows = [(float(at), "app", 0.0, megabytes * 1e6) for at, megabytes in enumerate(readings)]
    other = [(float(at), "database", 0.0, 1e9 * at) for at in range(6)] + [(9.0, "app", 0.0, float("nan"))]
    assert ("memory-grows" in codes(evidence(host_rows=[*rows, *other]))) is grows


def test_what_was_never_answered_may_have_arrived_or_not() -> None:
    for arrived in (0, 1, 2):
        counts = agreement(unanswered=2, server_log=100 + arrived, audits={"orders_order": (10, 10 + arrived)})
        assert flags.judge(counts, evidence(), aftermath()).status == "ok"


def test_doubtful_books_are_invalid() -> None:
    doubtful = aftermath(books=Books(opened=1, refused=0, transactions=99, current=0, doubt="the log says 2"))
    verdict = flags.judge(agreement(), evidence(), doubtful)
    assert (verdict.status, verdict.reason) == ("invalid", "the log says 2")


def test_a_request_that_the_recorder_lost_is_invalid() -> None:
    lossy = evidence(windows=[stretch(6, 1, 4), stretch(8, 1, 4, locust_requests=5)])
    verdict = flags.judge(agreement(), lossy, aftermath())
    assert (verdict.status, verdict.reason) == ("invalid", "Locust counted 5 requests in a stretch, 4 were recorded")


def test_every_problem_is_told() -> None:
    verdict = flags.judge(agreement(server_log=1, database_transactions=1), evidence(), aftermath())
    assert verdict.reason.count("; ") == 1


def test_an_attempt_without_blemish_has_no_flags() -> None:
    assert codes(evidence()) == []


@pytest.mark.parametrize(
    ("spoilt", "code"),
    [
        ({"counted": stretch(1, 2, 8, busiest=0.91)}, "generator-saturated"),
        ({"windows": [stretch(6, 1, 4, busiest=0.91)]}, "generator-saturated"),
        ({"counted": stretch(1, 2, 8, steady=False)}, "not-steady"),
        ({"windows": [stretch(6, 1, 4, script_errors=("KeyError('id')",))]}, "load-script-error"),
        ({"peak": Peak(connections=2, slots=3, doubt="others came")}, "peak-in-doubt"),
    ],
)
def test_load_flags(spoilt: dict[str, Any], code: str) -> None:
    assert codes(evidence(**spoilt)) == [code]


def test_it_is_the_busiest_process_of_the_generator_that_is_saturated() -> None:
    """Two that use 1.7 cores together have room; with one of them at its end, they have not."""
    assert codes(evidence(counted=stretch(1, 2, 8, cpu_seconds=3.4, busiest=0.86))) == []
    assert codes(evidence(counted=stretch(1, 2, 8, cpu_seconds=2.2, busiest=0.97))) == ["generator-saturated"]


@pytest.mark.parametrize(
    ("after", "code", "words"),
    [
        ({"steal_seconds": 0.05}, ["host-disturbed"], "2.4% of the CPU time"),
        ({"steal_seconds": 0.04}, [], ""),
        ({"listen_overflows": 3}, ["listen-overflow"], "dropped 3 connections at a full listen queue; 0 SYNs"),
        ({"syn_retransmits": 2}, ["listen-overflow"], "2 SYNs were sent again"),
    ],
)
def test_host_flags(after: dict[str, Any], code: list[str], words: str) -> None:
    around = (kernel(), kernel(1.0, busy_seconds=1.5, idle_seconds=0.5, **after))
    seen = evidence(counted=replace(stretch(1, 1, 8), kernel=around), windows=[])
    found = flags.raise_flags(seen, GOOD_WORKERS, GOOD_SAMPLER)
    assert [flag.code for flag in found] == code
    assert all(words in flag.text for flag in found)


@pytest.mark.parametrize(
    ("requests", "code"),
    [((60, 40), []), ((67, 33), []), ((100,), ["worker-idle"]), ((), [])],
)
def test_worker_flags(requests: tuple[int, ...], code: list[str]) -> None:
    """Two worker processes are expected."""
    workers = [WorkerShare(pid=pid, requests=number, threads=1) for pid, number in enumerate(requests)]
    assert codes(evidence(), workers) == code


def test_a_worker_with_more_than_twice_its_share_is_flagged() -> None:
    for busiest, code in ((50, []), (51, ["worker-skew"])):
        rest = (100 - busiest) / 3
        shares = [WorkerShare(pid=1, requests=busiest * 3, threads=1)]
        shares += [WorkerShare(pid=pid, requests=round(rest * 3), threads=1) for pid in (2, 3, 4)]
        assert codes(evidence(), shares) == code


@pytest.mark.parametrize(("taken", "late", "code"), [(1000, 51, ["sampler-late"]), (0, 0, [])])
def test_sampler_flags(taken: int, late: int, code: list[str]) -> None:
    sampler = GOOD_SAMPLER.model_copy(update={"taken": taken, "late": late})
    assert codes(evidence(), sampler=sampler) == code


def test_host_figures_are_shares_over_all_stretches() -> None:
    first = (kernel(10.0), kernel(11.0, busy_seconds=2.0, cpu_pressure_seconds=0.5, listen_overflows=1))
    second = (kernel(50.0), kernel(53.0, busy_seconds=1.0, idle_seconds=4.0, steal_seconds=1.0, syn_retransmits=2))
    seen = evidence(counted=replace(stretch(1, 1, 8), kernel=first), windows=[replace(stretch(6, 3, 4), kernel=second)])
    assert flags.host_figures(seen) == {
        "busy": 3 / 8,
        "steal": 1 / 8,
        "cpu_pressure": 0.5 / 4,
        "listen_overflows": 1,
        "syn_retransmits": 2,
    }
    assert flags.host_figures(evidence(counted=None, windows=[])) == {}
