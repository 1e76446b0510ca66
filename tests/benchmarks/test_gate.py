"""The gate's and the turns' benchmarks, as far as they go without a server."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import gate, interleaving
from runner.stacks.app import read_app


def test_the_slower_shop_is_the_shop_and_burns(tmp_path: Path) -> None:
    folder = gate.slower_shop(tmp_path, 0.00125)
    assert read_app("shop", folder).description.wsgi == "shop.wsgi:application"
    source = (folder / "shop" / "burning.py").read_text()
    assert "time.thread_time() + 0.00125" in source
    scope: dict[str, Any] = {}
    exec(source, scope)
    assert scope["burning"](lambda request: request)("answer") == "answer"
    assert (folder / "shop" / "settings.py").read_text().endswith('["shop.burning.burning", *MIDDLEWARE]\n')


@pytest.mark.parametrize("rounds", [1, 3])
def test_gates_are_kept_as_they_come(monkeypatch: pytest.MonkeyPatch, rounds: int) -> None:
    def one_gate(candidate: str, *_: object) -> dict[str, Any]:
        verdict = "fail" if candidate else "pass"
        fresh = 0.09 if candidate else None
        figures = {"slowdown": 0.1, "block_sd": 0.03, "confirmed_slowdown": fresh, "left_out": 0}
        return {"seconds": 240.0, "verdict": verdict, "blocks": 9, **figures}

    monkeypatch.setattr(gate, "one_gate", one_gate)
    monkeypatch.setattr(gate, "calibrated_seconds", lambda folder: 0.0001)
    kept: list[Any] = []
    results = gate.measure(rounds, kept.append)
    assert results["burnt_seconds_a_request"] == pytest.approx(0.0001)
    assert [len(one["gates"]) for one in kept] == list(range(1, 2 * rounds + 1))
    page = gate.page(results)
    assert (
        f"With 10% of the throughput to be lost: {rounds} of {rounds} gates failed; the longest took 4.0 minutes."
        in page
    )
    assert ("blocks that confirmed: 9.0% (9.0% to 9.0%)." in page) == (rounds > 1)
    assert f"With nothing different (A/A): 0 of {rounds} gates failed" in page
    assert page.count("| fail |") == page.count("| pass |") == rounds


def test_the_loss_is_corrected_by_what_was_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "cpu_seconds_of_request", lambda: 0.0090)

    def loss(slower: Path) -> float:
        """A machine on which each burnt second costs half a second more."""
        burnt = float((slower / "shop" / "burning.py").read_text().split("thread_time() + ")[1].split()[0])
        return 1 - 1 / (1 + 1.5 * burnt / 0.0090)

    monkeypatch.setattr(gate, "_loss", loss)
    assert gate.calibrated_seconds(tmp_path) == pytest.approx(0.0010 / 1.5)


def test_a_loss_that_is_not_seen_is_not_corrected_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "cpu_seconds_of_request", lambda: 0.0090)
    monkeypatch.setattr(gate, "_loss", lambda slower: -0.01)
    assert gate.calibrated_seconds(tmp_path) < 0.0010 * 2.2**2


def test_both_ways_are_measured_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[list[int]] = []

    def block(order: Any) -> float:
        orders.append(list(order([0, 1])))
        return 0.01 * len(orders)

    monkeypatch.setattr(interleaving, "_block", block)
    results = interleaving.measure(2)
    assert orders[0][:4] == [0, 1, 1, 0]
    assert orders[1] == [0] * 8 + [1] * 8
    assert [(way["way"], way["blocks"]) for way in results["ways"]] == [("in turns", 2), ("one after the other", 2)]
    assert results["ways"][0]["sd_of_log_ratio"] == pytest.approx(0.0141, abs=0.001)
