"""From the matrix file to the exit code."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from runner import bench as benching
from runner import doctor
from runner import site as sites
from runner.analysis.summary import write_summary
from runner.bench import Options, bench, conclude, has_failed
from runner.errors import EnvironmentUnfit, UsageError
from runner.results.schema import RunEnd, Verdict
from runner.results.store import RunFolder, now_utc, write_json
from runner.stacks.environment import AppEnvironment
from tests.processes import ROOT
from tests.synthetic import Model, models, showcase, write_run

SMALL = ROOT / "tests" / "matrices" / "small.yaml"
BOUND = {"where": {"server": "uwsgi"}, "metric": "connections.peak", "at_least": None}


def console() -> Console:
    return Console(file=io.StringIO(), width=120)


def few() -> list[Model]:
    """PostgreSQL under uWSGI."""
    return [model for model in models() if model.id.startswith("pg-uwsgi")]


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({}, 0),
        ({"expect": [{**BOUND, "at_most": 16}]}, 0),
        ({"expect": [{**BOUND, "at_most": 15}]}, 1),
        ({"end": "interrupted"}, 130),
    ],
)
def test_exit_codes(tmp_path: Path, more: dict[str, Any], code: int) -> None:
    folder = write_run(tmp_path, few(), blocks=1, **more)
    assert conclude(folder, folder.end(), console()) == code


@pytest.mark.parametrize("status", ["failed", "invalid"])
def test_one_bad_attempt_fails_the_run(tmp_path: Path, status: Any) -> None:
    spoilt, *rest = few()
    folder = write_run(tmp_path, [replace(spoilt, verdicts={2: Verdict(status=status, reason="why")}), *rest], blocks=2)
    assert conclude(folder, folder.end(), console()) == 1


def test_skipped_cells_are_no_failure(tmp_path: Path) -> None:
    folder = showcase(tmp_path, blocks=2)
    summary = write_summary(folder)
    assert has_failed(summary)
    kept = [cell for cell in summary.cells if cell.status in ("ok", "skipped")]
    assert any(cell.status == "skipped" for cell in kept)
    assert not has_failed(summary.model_copy(update={"cells": kept, "expectations": []}))


def test_summary_and_report_are_written_even_after_an_interrupt(tmp_path: Path) -> None:
    folder = write_run(tmp_path, few(), blocks=1, end="interrupted")
    results = console()
    conclude(folder, folder.end(), results)
    assert json.loads((folder.path / "summary.json").read_text())["cells"]
    assert (folder.path / "report.html").stat().st_size > 1000
    assert printed(results).rstrip().endswith(f"Report: {folder.path / 'report.html'}")


class FakeRun:
    """Ends at once, as if it had been interrupted before its first attempt."""

    seen: list[Any]

    def __init__(self, plan: Any, apps: Any, environments: Any, folder: RunFolder, *_: Any) -> None:
        FakeRun.seen = [plan, apps, environments, folder]
        assert (folder.path / "run.json").exists(), "what is to run is written before anything is started"
        assert (folder.path / "plan.jsonl").exists()
        self._folder = folder

    def execute(self, enough: Any = None) -> RunEnd:
        end = RunEnd(status="interrupted", finished_at=now_utc(), wall_seconds=1.0, databases=[], time_spent={})
        write_json(self._folder.path / "end.json", end)
        return end


@pytest.fixture
def _nothing_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site = tmp_path / "env" / "lib" / "python3" / "site-packages"
    site.mkdir(parents=True)
    monkeypatch.setattr(benching, "Run", FakeRun)
    monkeypatch.setattr(sites, "build_environment", lambda recipe: AppEnvironment(recipe, tmp_path / "env"))
    monkeypatch.setattr(doctor, "require_programs", lambda *_: None)


@pytest.mark.usefixtures("_nothing_is_started")
def test_the_run_is_recorded_as_it_was_asked_for(tmp_path: Path) -> None:
    messages = console()
    options = Options(SMALL, tmp_path / "out", only="pg-*", seed=5, blocks=2, quick=True, command="connbench run …")
    assert bench(options, console(), messages) == 130
    plan, apps, environments, folder = FakeRun.seen
    assert (plan.seed, plan.blocks, plan.quick) == (5, 2, True)
    assert {cell: app.name for cell, app in apps.items()} == dict.fromkeys(plan.cells, "shop")
    assert {recipe.name for recipe in environments} == {"psycopg3"}
    assert str(folder.path) in printed(messages)
    assert (tmp_path / "out" / "latest").resolve() == folder.path.resolve()
    run = folder.run()
    assert (run.name, run.seed, run.blocks, run.quick, run.command) == ("small", 5, 2, True, "connbench run …")
    assert {cell.id for cell in run.cells} == set(plan.cells)
    assert {cell.id for cell in run.skipped} == {"my-sync-pooled", "my-uwsgi-pooled"}
    assert run.matrix["load"]["users"] == 16
    assert all(cell.params["load"]["windows"] == 2 for cell in run.cells)
    rows = [json.loads(line) for line in (folder.path / "plan.jsonl").read_text().splitlines()]
    assert [(row["block"], row["cell"]) for row in rows] == [(one.block, one.cell) for one in plan.attempts]


@pytest.mark.usefixtures("_nothing_is_started")
def test_a_seed_is_drawn_where_none_is_given(tmp_path: Path) -> None:
    seeds = set()
    for number in range(2):
        bench(Options(SMALL, tmp_path / str(number), only="pg-sync-forever"), console(), console())
        seeds.add(FakeRun.seen[3].run().seed)
    assert len(seeds) == 2


@pytest.mark.usefixtures("_nothing_is_started")
def test_nothing_is_written_where_nothing_can_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise EnvironmentUnfit("no PostgreSQL here")

    with pytest.raises(UsageError):
        bench(Options(SMALL, tmp_path / "out", only="nothing-*"), console(), console())
    monkeypatch.setattr(doctor, "require_programs", refuse)
    with pytest.raises(EnvironmentUnfit):
        bench(Options(SMALL, tmp_path / "out"), console(), console())
    assert not (tmp_path / "out").exists()
