"""docs/accuracy.md says what benchmarks/*.json hold, and nothing else."""

from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.accuracy import PAGE, accuracy_page
from benchmarks.keeping import FOLDER, Measurement, keep, read_kept
from benchmarks.registry import BENCHMARKS


def test_the_committed_page_is_made_of_the_committed_files() -> None:
    assert PAGE.read_text("utf-8") == accuracy_page(FOLDER), "python -m benchmarks accuracy"


def test_what_has_not_been_measured_is_said_so(tmp_path: Path) -> None:
    page = accuracy_page(tmp_path)
    for name in BENCHMARKS:
        assert f"Not measured yet: `python -m benchmarks {name}`." in page


def test_every_figure_is_on_the_page(tmp_path: Path) -> None:
    rows = [{"path": "/a|b", "seconds": 0.25}, {"path": "/c", "seconds": None}]
    results = {"cost_microseconds": 4.3219, "requests": 123456, "parts": {"sql": True}, "pages": rows}
    keep("something", results, "python -m benchmarks something", tmp_path / "something.json")
    page = accuracy_page(tmp_path)
    assert "## something\n\nMeasured on 20" in page
    assert " by `python -m benchmarks something` on " in page
    for cell in ("| cost microseconds | 4.32 |", "| requests | 123,456 |", "| parts: sql | True |"):
        assert cell in page
    assert "| /a\\|b | 0.25 |" in page
    assert "| /c | – |" in page


def test_the_later_of_two_measurements_counts(tmp_path: Path) -> None:
    keep("one", {"figure": 1}, "first", tmp_path / "b.json")
    keep("one", {"figure": 2}, "second", tmp_path / "a.json")
    assert read_kept(tmp_path)["one"].results == {"figure": 2}


def test_the_runner_keeps_what_a_benchmark_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.recorder.REQUESTS", 100)
    out = tmp_path / "recorder.json"
    command.main(["recorder", "--out", str(out)])
    kept = Measurement.model_validate_json(out.read_text())
    assert kept.results["listener_microseconds"] > 0
    assert kept.command == f"python -m benchmarks recorder --out {out}"
    assert kept.host.cores > 0
    assert kept.versions["locust"]


@pytest.mark.parametrize("arguments", [["nothing"], ["recorder", "--rounds", "0"], ["recorder", "gate", "--out", "x"]])
def test_bad_usage_exits_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        command.main(arguments)
    assert left.value.code == 2
