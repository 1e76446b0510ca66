"""When a step of a search holds, and the search itself against a server whose capacity is known."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from runner import flags
from runner.evidence import Evidence, Step
from runner.load.generator import LoadGenerator
from runner.load.records import read_records
from runner.load.search import RateSearch
from runner.matrix.slo import ServiceLevel
from runner.provision.native import NativeProvider
from runner.recording import measured_record
from runner.results.schema import RateStep, SamplerQuality, WorkerShare
from runner.searching import judge_step
from tests.evidences import ZERO, aftermath, driven, evidence, requests, stretch
from tests.load.test_truth import truth

QUALITY = SamplerQuality(asked_per_second=20, taken=100, late=0, achieved_per_second=20, cpu_seconds=0.1)
SLO = ServiceLevel.model_validate({"p95": "200ms", "errors": "1%"}, strict=True)


def step(count: int = 200, **more: Any) -> pd.DataFrame:
    """Requests that were due evenly over a second, from second 1 on, each answered within 50 ms."""
    due = [1.0 + number / count for number in range(count)]
    columns: dict[str, Any] = {"intended": due, "offset": due, "service_ms": 50.0, "error": "", **more}
    return pd.DataFrame(columns)


def judged(rows: pd.DataFrame, **more: Any) -> tuple[str, str]:
    found = judge_step(200.0, driven(1.0, 1.0, len(rows), due=200, **more), rows, ZERO, SLO)
    return found.outcome, found.reason


def test_a_step_that_keeps_the_service_level_is_held() -> None:
    assert judged(step()) == ("held", "")


def test_response_time_counts_from_when_a_request_was_due() -> None:
    late = step()
    late["offset"] += 0.2
    assert judged(late) == ("missed", "p95 was 250.0 ms for 200")


@pytest.mark.parametrize(("failed", "outcome"), [(2, "held"), (3, "missed")])
def test_errors_are_bounded_as_a_share(failed: int, outcome: str) -> None:
    assert judged(step(error=["HTTP 500"] * failed + [""] * (200 - failed)))[0] == outcome


@pytest.mark.parametrize(("dropped", "outcome"), [(2, "held"), (3, "missed")])
def test_what_never_left_is_a_queue_that_grows(dropped: int, outcome: str) -> None:
    assert judged(step(), dropped=dropped)[0] == outcome


def test_a_server_that_answers_nothing_well_holds_nothing() -> None:
    assert judged(step(error="TimeoutError")) == ("missed", "no request was answered well")
    assert judged(step()[:0]) == ("missed", "no request was answered well")


def test_what_a_saturated_generator_misses_says_nothing_of_the_server() -> None:
    outcome, reason = judged(step(), dropped=50, busiest=0.97)
    assert outcome == "limited"
    assert reason == "50 of 200 requests never left; a process of the load generator used 97% of a core"
    assert judged(step(), busiest=0.97) == ("held", "")


def searched(*steps: tuple[float, str], held: float | None, failed: float | None) -> Evidence:
    """An attempt that searched its rate; `steps` are rates and what came of them."""
    found = [
        judge_step(rate, driven(1.0, 1.0, 200, due=200), step(), ZERO, SLO).model_copy(
            update={"outcome": outcome, "reason": "" if outcome == "held" else "p95 was 300.0 ms for 200"}
        )
        for rate, outcome in steps
    ]
    seen = [Step(one, stretch(4.0, 1.0, 200, busiest=0.99)) for one in found]
    return evidence(steps=seen, held=held, failed=failed)


def codes(seen: Evidence) -> list[str]:
    workers = [WorkerShare(pid=pid, requests=4, threads=1) for pid in (1, 2)]
    return [flag.code for flag in flags.raise_flags(seen, workers, QUALITY)]


def test_a_search_that_found_its_bracket_raises_no_flag() -> None:
    """Though a step drove the generator to its end: it tells of the step, not of the windows."""
    assert codes(searched((100, "held"), (150, "missed"), (150, "missed"), held=100.0, failed=150.0)) == []


def test_a_search_that_found_less_says_so() -> None:
    assert codes(searched((1, "missed"), (1, "missed"), held=None, failed=1.0)) == ["nothing-held"]
    assert codes(searched((100, "held"), (150, "limited"), held=100.0, failed=None)) == ["capacity-unbounded"]


def test_requests_of_a_search_are_in_no_window_and_in_every_count() -> None:
    frame = requests()
    extra = frame[frame["window"] == 0].assign(window=-2, offset=4.0, intended=4.0)
    seen = searched((100, "held"), held=100.0, failed=None)
    found = measured_record(
        seen, pd.concat([frame, extra], ignore_index=True), {}, aftermath(logged_requests=20), QUALITY
    )
    assert found.capacity is not None
    assert (found.capacity.held_rps, found.capacity.failed_rps) == (100.0, None)
    assert [one.outcome for one in found.capacity.steps] == ["held"]
    assert (found.requests, found.count_requests, sum(window.requests for window in found.windows)) == (20, 8, 8)
    assert found.agreement is not None
    assert (found.agreement.locust, found.agreement.server_log) == (20, 20)


PROFILE = """
from locust import task
from runner.load.user import BenchmarkUser

class Visitor(BenchmarkUser):
    @task
    def ask(self): self.client.get("/")
"""


@pytest.mark.server
@pytest.mark.alone
def test_the_capacity_of_a_server_with_known_delays_is_found(tmp_path: Path) -> None:
    """Four users and 20 ms a request: 200 requests a second at most; a slow machine finds less."""
    profile = tmp_path / "profile.py"
    profile.write_text(PROFILE)
    search = RateSearch(60.0, 0.1)
    with truth(delays_ms=[20.0]) as address, closing(NativeProvider()) as provider:
        load = LoadGenerator(provider, "cell", tmp_path / "requests.raw", tmp_path / "load.log", workers=2)
        load.configure(profile, address, keep_alive=True, model="open")
        found: list[RateStep] = []
        while search.rate is not None:
            window = -2 - len(found)
            drove = load.window(window, users=4, lead_in=0.1, seconds=1.0, seed="s", rate=search.rate)
            rows, _ = read_records(load.records, drove.begun)
            found.append(judge_step(search.rate, drove, rows[rows["window"] == window], drove.begun, SLO))
            search.tried(found[-1].outcome)
        load.close()
    rows, _ = read_records(load.records, 0.0)
    assert len(rows) >= sum(one.requests for one in found)
    held = [one.rate for one in found if one.outcome == "held"]
    assert search.held == (max(held) if held else None)
    if search.held is not None:
        # Beyond 200 a queue grows by as much as it is beyond: at 220 and a second a tenth never leaves.
        assert search.held <= 220
    if search.failed is not None and search.held is not None:
        assert search.held < search.failed <= search.held * 1.1 * (1 + 1e-9)
