"""The run folder: whole or not at all, and one message for what cannot be read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from runner.errors import UsageError
from runner.results.schema import SCHEMA_VERSION, AttemptRecord, RunRecord, Verdict
from runner.results.store import RunFolder, open_run, read_frame, read_json, write_json
from tests.synthetic import models, write_run


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return write_run(tmp_path, models()[:2], blocks=2)


def record(cell: str = "a") -> AttemptRecord:
    verdict = Verdict(status="ok")
    return AttemptRecord(cell=cell, block=0, attempt=0, group="g", verdict=verdict, started_at="", clock_zero=0)


def test_what_is_written_is_read_back(folder: RunFolder) -> None:
    read = open_run(folder.path)
    assert [cell.id for cell in read.run().cells] == [model.id for model in models()[:2]]
    assert [(found.block, found.cell) for _, found in read.attempts()] == [
        (block, name) for block in (1, 2) for name in sorted(model.id for model in models()[:2])
    ]
    end = read.end()
    assert end is not None
    assert end.status == "finished"


def test_latest_points_at_the_newest_run(folder: RunFolder) -> None:
    latest = folder.path.parent / "latest"
    assert latest.resolve() == folder.path
    assert not latest.readlink().is_absolute()
    assert open_run(latest).path == folder.path


def test_a_folder_is_never_written_twice(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    class Frozen:
        @staticmethod
        def now(_: object) -> "Frozen":
            return Frozen()

        def strftime(self, _: str) -> str:
            return folder.path.name.partition("-")[0]

    monkeypatch.setattr("runner.results.store.datetime", Frozen)
    with pytest.raises(UsageError, match="exists already"):
        RunFolder.create(folder.path.parent, folder.run())


def test_an_attempt_is_not_seen_before_it_is_committed(folder: RunFolder) -> None:
    before = len(folder.attempts())
    partial = folder.begin_attempt("new", 0, 0)
    write_json(partial / "attempt.json", record("new"))
    assert len(folder.attempts()) == before
    folder.write_attempt(partial, record("new"))
    assert len(folder.attempts()) == before
    final = folder.commit_attempt(partial)
    assert len(folder.attempts()) == before + 1
    assert (final.name, partial.exists()) == ("b0-a0", False)


def test_what_a_killed_attempt_left_behind_is_cleared(folder: RunFolder) -> None:
    left = folder.begin_attempt("new", 0, 0)
    (left / "requests.raw").write_text("half")
    assert not (folder.begin_attempt("new", 0, 0) / "requests.raw").exists()


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_json(path, {"schema_version": 1})
    with pytest.raises(TypeError):
        write_json(path, {"schema_version": object()})
    assert json.loads(path.read_text()) == {"schema_version": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_events_are_appended(folder: RunFolder) -> None:
    folder.event("started", cell="ä")
    folder.event("finished", status="ok")
    lines = [json.loads(line) for line in (folder.path / "events.jsonl").read_text("utf-8").splitlines()]
    assert [(line["event"], line.get("cell")) for line in lines] == [("started", "ä"), ("finished", None)]


def test_a_run_that_was_cut_off_has_no_end(tmp_path: Path) -> None:
    assert write_run(tmp_path, models()[:1], blocks=1, end=None).end() is None


def newer(raw: dict[str, Any]) -> str:
    return json.dumps(raw | {"schema_version": SCHEMA_VERSION + 1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            newer,
            f"follows schema {SCHEMA_VERSION + 1}, this connbench knows {SCHEMA_VERSION}; use a newer one",
        ),
        (lambda raw: json.dumps({"name": "x"}), "no schema_version in it; not a file of connbench"),
        (lambda raw: "[1, 2]", "no schema_version in it; not a file of connbench"),
        (lambda raw: "{", "cannot be read"),
        (lambda raw: "\udcff", "cannot be read"),
        (lambda raw: json.dumps(raw | {"blocks": "many"}), "blocks: Input should be a valid integer"),
        (lambda raw: json.dumps(raw | {"surprise": 1}), "surprise: Extra inputs are not permitted"),
    ],
)
def test_a_broken_file_is_refused_by_its_path_in_one_line(
    folder: RunFolder, change: Callable[[dict[str, Any]], str], message: str
) -> None:
    path = folder.path / "run.json"
    path.write_bytes(change(json.loads(path.read_text())).encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError) as refused:
        open_run(folder.path).run()
    assert str(refused.value).startswith(f"{path}: ")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such run folder"):
        open_run(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"run.json is missing"):
        open_run(tmp_path)


def test_frames(tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    assert read_frame(path).empty
    pd.DataFrame({"offset": [1.0]}).to_parquet(path)
    assert read_frame(path)["offset"].to_list() == [1.0]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UsageError, match=r"samples.parquet: cannot be read"):
        read_frame(path)


def test_records_refuse_what_they_do_not_know(tmp_path: Path) -> None:
    write_json(tmp_path / "attempt.json", record())
    with pytest.raises(UsageError, match="Field required"):
        read_json(tmp_path / "attempt.json", RunRecord)
