"""What the first screen says of each database's choice: by how far it is known."""

import pytest

from runner.analysis.model import Answer, Summary
from runner.analysis.summary import summarise
from runner.report.page.answer import Choice, answer_section
from runner.report.page.data import run_data
from runner.results.store import RunFolder
from tests.synthetic import models, write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return write_run(tmp_path_factory.mktemp("runs"), models()[:4])


@pytest.fixture(scope="module")
def summary(folder: RunFolder) -> Summary:
    return summarise(folder)


def choice(folder: RunFolder, summary: Summary, **changed: object) -> Choice:
    """Of the only database, with its answer in throughput changed."""

    def change(answer: Answer) -> Answer:
        return answer.model_copy(update=changed) if answer.metric == "throughput_rps" else answer

    of_run = summary.model_copy(update={"answers": [change(answer) for answer in summary.answers]})
    (database,) = answer_section(run_data(folder.path, of_run, folder.attempts())).databases
    assert database.choice is not None
    return database.choice


def test_told_from_all_others(folder: RunFolder, summary: Summary) -> None:
    found = choice(folder, summary, cell="pg-sync-forever", level_with=[])
    assert (found.cell.id, found.grade) == ("pg-sync-forever", "sure")
    assert "told apart from all of them" in found.sure


def test_of_several_that_are_level_the_one_with_the_fewest_connections(folder: RunFolder, summary: Summary) -> None:
    level = {"cell": "pg-sync-forever", "level_with": ["pg-sync-persistent"], "detectable": 0.06}
    found = choice(folder, summary, **level)
    assert (found.grade, [cell.id for cell in found.level]) == ("level", ["pg-sync-persistent"])
    assert found.sure == "Not distinguishable from 1 other (would have seen 6 %):"


@pytest.mark.parametrize(
    ("cell", "grade", "begins"),
    [("forever", "better", "Quicker than the reference"), ("per-request", "unsure", "1 other")],
)
def test_where_too_little_is_known_of_the_others_its_gain_still_counts(
    folder: RunFolder, summary: Summary, cell: str, grade: str, begins: str
) -> None:
    """The reference itself has none."""
    doubtful = {"cell": f"pg-sync-{cell}", "level_with": ["pg-sync-persistent"], "detectable": 0.4}
    found = choice(folder, summary, **doubtful)
    assert (found.cell.id, found.grade) == (f"pg-sync-{cell}", grade)
    assert found.sure.startswith(begins)
    assert "1 other may be as quick: underpowered (would have seen 40 % in each), more blocks would tell." in found.sure


def test_two_blocks_are_not_sure(folder: RunFolder, summary: Summary) -> None:
    found = choice(folder, summary, unknown=["pg-sync-persistent"])
    assert (found.cell.id, found.grade) == (summary.answers[0].cell, "unsure")
    assert found.sure.startswith("Not sure: fewer than 3 blocks")
