"""The comparison of two runs as a reader gets it."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from runner.analysis.compare import compare_folders
from runner.analysis.model import RunComparison
from runner.errors import UsageError
from runner.report.changes import changes_text, print_changes, refuse_incomparable
from tests.synthetic import OTHER_HOST, models, slower, write_run


def made(out: Path, *, host: bool = False, ratios: bool = False) -> RunComparison:
    other: dict[str, Any] = {"host": OTHER_HOST} if host else {}
    base = write_run(out / "base", models(), seed=1, blocks=6)
    cells = slower(models(), 0.5, "pg-sync-persistent")
    new = write_run(out / "new", cells, seed=2, blocks=6, versions={"python": "3.12.1"}, **other)
    return compare_folders(base, new, ratios=ratios)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunComparison:
    return made(tmp_path_factory.mktemp("runs"))


def printed(result: RunComparison) -> str:
    console = Console(file=io.StringIO(), width=80)
    print_changes(result, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_change_stands_out_and_fits(result: RunComparison) -> None:
    text = printed(result)
    assert re.search(r"pg-sync-persistent +0\.[45]\d× \(0\.4\d–0\.5\d\) ", text)
    assert "n. d. (" in text
    assert "version: python: 3.11.2 → 3.12.1" in text
    assert "--ratios takes it out" in " ".join(text.split())
    assert max(cell_len(line) for line in text.splitlines()) <= 120


def test_formats_agree(result: RunComparison) -> None:
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(changes_text(result, "csv")))}
    from_json = {(one["cell"], one["metric"]): one for one in json.loads(changes_text(result, "json"))["changes"]}
    assert len(rows) == len(models())
    for cell, row in rows.items():
        assert row["throughput"] == from_json[cell, "throughput_rps"]["text"]
        assert row["peak conn."]
    markdown = changes_text(result, "md")
    assert rows["pg-sync-persistent"]["throughput"] in markdown
    assert len(re.findall(r"(?m)^\| (pg|my)-", markdown)) == len(models())


def test_an_unknown_format_is_refused(result: RunComparison) -> None:
    with pytest.raises(UsageError, match="unknown format 'xml'; known: md, csv, json"):
        changes_text(result, "xml")


def test_incomparable_runs_are_refused_with_the_fields_and_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        refuse_incomparable(made(tmp_path, host=True))
    assert refused.value.exit_code == 2
    assert "host: cpu: Example CPU 3 GHz → Other CPU" in str(refused.value)
    assert "--ratios" in str(refused.value)


def test_ratios_name_no_reference_as_changed(tmp_path: Path) -> None:
    result = made(tmp_path, host=True, ratios=True)
    refuse_incomparable(result)
    assert "neither host nor drift" in printed(result)
    assert "host: cpu" in printed(result)
