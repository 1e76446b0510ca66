"""Run folders that are missing, cut off, edited by hand, newer, foreign or hostile: one message, never a traceback."""

import contextlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.analysis.compare import compare_folders
from runner.analysis.summary import write_summary
from runner.errors import UsageError
from runner.report.html import write_report
from runner.results.store import open_run
from runner.resume import plan_of
from tests.synthetic import models, write_run

MUTATIONS = 60
ODD: list[Any] = [None, -1, 2**70, 1e308, "", "\x00", "../../etc", [], {}, [[]], True, "9" * 4000]


def read_everything(path: Path) -> None:
    """What the commands that read a run's folder do with it."""
    folder = open_run(path)
    write_report(folder, write_summary(folder))
    compare_folders(folder, folder, ratios=False)
    # A made-up run has no matrix to plan by.
    with contextlib.suppress(UsageError):
        plan_of(folder, folder.run())


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        read_everything(path)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "out", models()[:2], blocks=1).path


def first_attempt(run: Path) -> Path:
    return next(run.glob("cells/*/b1-a*"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda run: (run / "run.json").unlink(), "run.json is missing"),
        (lambda run: (run / "run.json").write_text(""), "run.json: cannot be read"),
        (lambda run: (run / "run.json").write_bytes(b"\xff\xfe\x00"), "run.json: cannot be read"),
        (lambda run: (run / "run.json").write_text("[" * 100_000), "run.json: cannot be read"),
        (lambda run: (run / "run.json").write_text('{"schema_version": 99}'), "follows schema 99"),
        (lambda run: (run / "run.json").write_text('{"version": 1}'), "not a file of connbench"),
        (lambda run: (run / "end.json").write_text('{"schema_version": 1, "status": "so-so"}'), "end.json: status"),
        (lambda run: (first_attempt(run) / "attempt.json").write_text("{"), "attempt.json: cannot be read"),
    ],
)
def test_each_is_refused_with_its_file_and_the_reason(run: Path, spoil: Callable[[Path], object], words: str) -> None:
    spoil(run)
    told = refusal(run)
    assert words in told
    assert str(run) in told


def test_a_prediction_that_is_broken(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    record["cells"][0]["predicted"]["broken"] = -1
    (run / "run.json").write_text(json.dumps(record))
    assert refusal(run).startswith("run.json: cells.predicted.broken: Input should be a valid string")


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    assert "no such run folder" in refusal(tmp_path / "nowhere")
    assert "no run folder" in refusal(tmp_path)
    (tmp_path / "file").touch()
    assert "no run folder" in refusal(tmp_path / "file")


def test_an_attempt_that_names_another_cell_is_refused(run: Path) -> None:
    """Ids become paths: what an attempt says of itself has to be where it was found."""
    path = first_attempt(run) / "attempt.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "cell": "../../../../tmp/elsewhere"}))
    assert "is not where it belongs" in refusal(run)


def test_a_link_out_of_the_folder_is_not_followed(run: Path, tmp_path: Path) -> None:
    attempt, elsewhere = first_attempt(run), tmp_path / "elsewhere"
    attempt.rename(elsewhere)
    attempt.symlink_to(elsewhere)
    assert "leads out of the run's folder" in refusal(run)


def test_whatever_is_changed_there_is_a_message_and_no_traceback(tmp_path: Path) -> None:
    """Values replaced, keys removed, files cut: seeded, so that what fails fails again."""
    for seed in range(MUTATIONS):
        draw = random.Random(seed)
        run = write_run(tmp_path / str(seed), models()[:1], blocks=1).path
        target = draw.choice([path for path in run.rglob("*.json") if path.is_file()])
        text = target.read_text()
        if draw.random() < 0.3:
            target.write_text(text[: draw.randrange(len(text))])
        else:
            target.write_text(json.dumps(mutated(json.loads(text), draw)))
        with contextlib.suppress(UsageError):
            read_everything(run)


def mutated(data: Any, draw: random.Random) -> Any:
    """One value somewhere in it is another, or gone."""
    place: Any = data
    while True:
        keys: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return data
        key = draw.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and draw.random() < 0.7:
            place = place[key]
            continue
        if draw.random() < 0.3:
            del place[key]
        else:
            place[key] = draw.choice(ODD)
        return data
