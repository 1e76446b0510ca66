"""`blocks:` as a number or as a range, and the plans that come of it."""

from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.matrix.expansion import expand
from runner.matrix.reading import read_matrix
from runner.matrix.spec import BlockRange, MatrixFile
from runner.plan import make_plan, plan_as_json
from runner.shares import parse_share, write_share
from tests.matrix.examples import make_matrix
from tests.processes import ROOT

AXES = {"database": ["pg", "my"], "server": ["sync"], "connection": ["per-request", "forever"]}
SMALL = (ROOT / "tests" / "matrices" / "small.yaml").read_text()


def read(tmp_path: Path, blocks: str) -> MatrixFile:
    path = tmp_path / "matrix.yaml"
    path.write_text(SMALL.replace("blocks: 1", f"blocks: {blocks}"))
    return read_matrix(path)


def test_a_range(tmp_path: Path) -> None:
    assert read(tmp_path, "{min: 3, max: 9, until: 5%}").blocks == BlockRange(min=3, max=9, until=0.05)
    assert read(tmp_path, "4").blocks == 4


def test_what_is_recorded_can_be_read_again(tmp_path: Path) -> None:
    matrix = read(tmp_path, "{min: 3, max: 9, until: 2.5%}")
    assert MatrixFile.model_validate(matrix.model_dump(mode="json")).blocks == matrix.blocks


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ("0", "found 0, allowed: 1 or more"),
        ("{min: 5, max: 4}", "min 5 is above max 4"),
        ("{min: 3, until: much}", "found 'much', which is no share; write '5%'"),
        ("{least: 3}", "no such setting; allowed: min, max, until"),
        ("{min: 1}", "found 1, allowed: 2 or more"),
    ],
)
def test_what_is_wrong_is_refused(tmp_path: Path, blocks: str, words: str) -> None:
    with pytest.raises(UsageError) as refusal:
        read(tmp_path, blocks)
    assert words in str(refusal.value)


def test_a_plan_has_the_most_blocks_and_knows_the_fewest() -> None:
    matrix = make_matrix(AXES, blocks={"min": 3, "max": 9, "until": 0.05})
    plan = make_plan(expand(matrix), matrix, seed=1)
    assert (plan.blocks, plan.at_least.blocks) == (9, 3)
    assert {group.block for group in plan.at_least.groups} == {1, 2, 3}
    as_json = plan_as_json(expand(matrix), plan)
    assert as_json["adaptive"] == {"min": 3, "max": 9, "until": "5%"}
    assert as_json["least_seconds"] < as_json["estimated_seconds"]


@pytest.mark.parametrize(("more", "blocks"), [({"blocks": 5}, 5), ({"quick": True}, 1)])
def test_a_number_that_is_asked_for_is_no_range(more: dict[str, int], blocks: int) -> None:
    matrix = make_matrix(AXES, blocks={"min": 3, "max": 9})
    plan = make_plan(expand(matrix), matrix, seed=1, **more)  # type: ignore[arg-type]
    assert (plan.blocks, plan.adaptive) == (blocks, None)


@pytest.mark.parametrize("share", [0.05, 0.001, 0.333])
def test_shares_are_read_as_they_are_written(share: float) -> None:
    assert parse_share(write_share(share)) == pytest.approx(share)
