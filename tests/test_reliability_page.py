"""The counts in docs/reliability.md are those of benchmarks/faults.jsonl."""

from pathlib import Path

from benchmarks.reliability import PAGE, counts, page_with


def test_the_page_says_what_was_counted() -> None:
    page = PAGE.read_text("utf-8")
    assert page_with(counts(), page) == page


def test_what_did_not_survive_is_counted(tmp_path: Path) -> None:
    faults = tmp_path / "faults.jsonl"
    faults.write_text('{"fault": "a", "survived": true}\n{"fault": "a", "survived": false}\n')
    assert "| a | 2 | 1 |" in counts(faults)
    assert "| **all** | **0** | **0** |" in counts(tmp_path / "none")


def test_what_was_lost_and_left_is_counted(tmp_path: Path) -> None:
    faults = tmp_path / "faults.jsonl"
    faults.write_text('{"fault": "a", "survived": false, "lost": 2, "left": 1}\n{"left": 3}\n')
    assert "| **all** | **1** | **0** |" in counts(faults)
    assert "attempts lost: 2. Processes, folders and journals left behind: 4." in counts(faults)
