"""Whether a gate finds a tenth of the throughput lost, and lets pass what is the same.

The candidate is the shop with a middleware that burns CPU time, as much a request as makes a tenth of the throughput:
at first a ninth of what a request costs the whole machine, since closed load keeps it busy, then corrected by the loss
that it makes. How much was lost in truth is told from the blocks that confirmed: how many there are was settled before
they were seen. The A/A gates hold the shop against itself. Each gate is `connbench gate` as a user runs it.
"""

import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.interleaving import in_turns, mean_log_rate
from benchmarks.stack import warm_stack, warm_stacks
from runner.analysis.inference import t_interval
from runner.errors import StackError
from runner.stacks.app import ROOT, load_app, read_app

CELL = "pg-uwsgi-persistent"
BOTH = "server=uwsgi,connection=persistent"
#: The share of the throughput that is to be lost.
LOSS = 0.10
CALIBRATING_WINDOWS = 16
#: How often the loss is measured and corrected for, and on how many pairs of fresh stacks.
CORRECTIONS, PAIRS = 2, 3
#: Beside the longest that a gate may take: a machine on which it takes longer is said so by the figures.
LIMIT = 1800.0
BURNING = """
import time


def burning(get_response):
    def burn(request):
        response = get_response(request)
        end = time.thread_time() + {seconds!r}
        while time.thread_time() < end:
            pass
        return response

    return burn
"""


def measure(rounds: int = 10, keep: Callable[[Mapping[str, Any]], None] | None = None, both: str = BOTH) -> Any:
    """Gates with the loss and without by turns, `rounds` of each; `keep` is handed all results after each gate."""
    gates: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="connbench-benchmark-") as name:
        seconds = calibrated_seconds(Path(name))
        slower = slower_shop(Path(name), seconds)
        for number in range(1, rounds + 1):
            for kind, candidate in (("injected", f"app={slower}"), ("A/A", "")):
                gates.append({"round": number, "kind": kind, **one_gate(candidate, both, Path(name) / "results")})
                if keep is not None:
                    keep(_results(seconds, gates))
    return _results(seconds, gates)


def calibrated_seconds(folder: Path) -> float:
    """CPU seconds a request whose burning loses LOSS of the throughput, as well as some windows can tell."""
    seconds = cpu_seconds_of_request() * lengthening(LOSS)
    for number in range(CORRECTIONS):
        slower = slower_shop(folder / f"calibration-{number}", seconds)
        lost = statistics.fmean(_loss(slower) for _ in range(PAIRS))
        # A loss that noise hides says nothing of how to correct: half of what was meant is the least to go by.
        seconds *= lengthening(LOSS) / lengthening(max(lost, LOSS / 2))
    return seconds


def lengthening(loss: float) -> float:
    """By which share a request takes longer where this share of the throughput is lost."""
    return 1 / (1 - loss) - 1


def _loss(slower: Path) -> float:
    """The share of throughput that the slower shop loses, on one pair of fresh stacks in turns."""
    apps = [load_app("shop"), read_app("shop", slower)]
    with warm_stacks(CELL, [{}, {}], apps) as attempts:
        for attempt in in_turns(attempts, CALIBRATING_WINDOWS):
            attempt.window(len(attempt.evidence.windows), 0)
        base, candidate = (mean_log_rate(attempt) for attempt in attempts)
    return 1 - math.exp(candidate - base)


def cpu_seconds_of_request() -> float:
    """What app, database and load generator together spend on a request, from the windows of a warm stack."""
    with warm_stack(CELL) as attempt:
        for number in range(CALIBRATING_WINDOWS):
            attempt.window(number, 0)
        windows = attempt.evidence.windows
    return sum(sum(one.cpu_seconds.values()) for one in windows) / sum(one.driven.requests for one in windows)


def slower_shop(folder: Path, seconds: float) -> Path:
    """A copy of the shop that burns so many CPU seconds with each request."""
    shop = folder / "shop"
    shutil.copytree(ROOT / "apps" / "shop", shop, ignore=shutil.ignore_patterns("__pycache__"))
    (shop / "shop" / "burning.py").write_text(BURNING.format(seconds=seconds), "utf-8")
    with (shop / "shop" / "settings.py").open("a", encoding="utf-8") as settings:
        settings.write('\nMIDDLEWARE = ["shop.burning.burning", *MIDDLEWARE]\n')
    return shop


def one_gate(candidate: str, both: str, out: Path) -> dict[str, Any]:
    """One gate's verdict and figures."""
    arguments = ["gate", "-m", str(ROOT / "matrix.yaml"), "--both", both, "--candidate", candidate, "--out", str(out)]
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "runner", *arguments, "--wait"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    seconds = time.monotonic() - begun
    path = out / "latest" / "gate.json"
    if done.returncode not in (0, 1) or not path.exists():
        raise StackError(f"connbench gate ended with {done.returncode}:\n{done.stderr[-2000:]}")
    result = json.loads(path.read_text("utf-8"))
    looks = [look for look in (result["first"], result["confirmation"]) if look]
    return {
        "seconds": seconds,
        "verdict": result["verdict"],
        "blocks": sum(len(look["blocks"]) for look in looks),
        "slowdown": looks[0]["slowdown"] if looks else None,
        "block_sd": looks[0]["spread"] if looks else None,
        "confirmed_slowdown": looks[1]["slowdown"] if len(looks) > 1 else None,
        "left_out": len(result["left_out"]),
    }


def page(results: Mapping[str, Any]) -> str:
    """How many were caught and in what time, then every gate."""
    return "\n\n".join(_sentences(results)) + "\n\n" + _table(results["gates"])


def _results(seconds: float, gates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"loss": LOSS, "burnt_seconds_a_request": seconds, "gates": list(gates)}


def _sentences(results: Mapping[str, Any]) -> Iterator[str]:
    told = {"injected": f"{results['loss']:.0%} of the throughput to be lost", "A/A": "nothing different (A/A)"}
    for kind, what in told.items():
        gates = [gate for gate in results["gates"] if gate["kind"] == kind]
        failed = sum(gate["verdict"] == "fail" for gate in gates)
        longest = max((gate["seconds"] for gate in gates), default=math.nan)
        yield f"With {what}: {failed} of {len(gates)} gates failed; the longest took {longest / 60:.1f} minutes."
        if kind == "injected":
            yield f"What was lost in truth, by the blocks that confirmed: {_true_loss(gates)}."


def _true_loss(gates: Sequence[Mapping[str, Any]]) -> str:
    """What the fresh blocks of the gates with a loss say of it, over gates."""
    lost = [gate["confirmed_slowdown"] for gate in gates if gate["confirmed_slowdown"] is not None]
    if len(lost) < 2:
        return "not known, since fewer than two gates confirmed anything"
    interval = t_interval([math.log1p(-one) for one in lost])
    assert interval.half_width is not None, "two gates or more"
    low, high = (-math.expm1(interval.mean + sign * interval.half_width) for sign in (1, -1))
    return f"{-math.expm1(interval.mean):.1%} ({low:.1%} to {high:.1%})"


def _table(gates: Sequence[Mapping[str, Any]]) -> str:
    head = ["round", "kind", "verdict", "minutes", "blocks", "slow-down in the first look", "SD between blocks"]
    rows = [
        [
            str(gate["round"]),
            gate["kind"],
            gate["verdict"],
            f"{gate['seconds'] / 60:.1f}",
            str(gate["blocks"]),
            "–" if gate["slowdown"] is None else f"{gate['slowdown']:.1%}",
            "–" if gate["block_sd"] is None else f"{gate['block_sd']:.3f}",
        ]
        for gate in gates
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
