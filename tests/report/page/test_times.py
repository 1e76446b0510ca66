"""Bars of where the time goes: their scale, and what was not measured."""

from pathlib import Path

import pytest

from runner.analysis.model import CellSummary, Number
from runner.analysis.summary import summarise
from runner.report.page.times import PARTS, TITLES, WIDTH, bars
from tests.synthetic import models, write_run


@pytest.fixture
def cells(tmp_path: Path) -> list[CellSummary]:
    return list(summarise(write_run(tmp_path, models()[:2], blocks=1)).cells)


def with_times(cell: CellSummary, **milliseconds: float | None) -> CellSummary:
    assert cell.metrics is not None
    numbers = {
        part: None if value is None else Number(value=value, low=value, high=value, n=1)
        for part, value in {**dict.fromkeys(PARTS), **milliseconds}.items()
    }
    times = cell.metrics.waterfall_ms.model_copy(update=numbers)
    return cell.model_copy(update={"metrics": cell.metrics.model_copy(update={"waterfall_ms": times})})


def test_every_part_has_its_title() -> None:
    assert tuple(TITLES) == PARTS


def test_bars_of_one_database_share_a_scale(cells: list[CellSummary]) -> None:
    long = with_times(cells[0], queue=8.0, pool=0.0, connect=4.0, sql=2.0, app=2.0)
    short = with_times(cells[1], queue=1.0, pool=0.0, connect=0.0, sql=1.0, app=2.0)
    drawn = bars([long, short])
    assert [drawn[cell.id].total for cell in (long, short)] == [16.0, 4.0]
    assert [(segment.part, segment.x, segment.width) for segment in drawn[long.id].segments] == [
        ("queue", 0.0, WIDTH / 2),
        ("pool", WIDTH / 2, 0.0),
        ("connect", WIDTH / 2, WIDTH / 4),
        ("sql", WIDTH * 3 / 4, WIDTH / 8),
        ("app", WIDTH * 7 / 8, WIDTH / 8),
    ]
    last = drawn[short.id].segments[-1]
    assert last.x + last.width == pytest.approx(WIDTH / 4)


def test_what_the_app_did_not_tell_is_not_drawn(cells: list[CellSummary]) -> None:
    silent = with_times(cells[0])
    brief = with_times(cells[1], queue=1.0, app=3.0)
    drawn = bars([silent, brief])
    assert silent.id not in drawn
    assert [segment.part for segment in drawn[brief.id].segments] == ["queue", "app"]
    assert bars([]) == {}
