"""`connbench gate` as its users meet it: what it refuses, and whole gates on real servers."""

import json
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from runner.analysis.gate import GateResult
from runner.apps import find_app
from runner.bench import Options
from runner.errors import UsageError
from runner.gate import GateOptions, Side, gate, parse_limit, under_one_python
from runner.matrix.cells import Cell
from runner.plan import plan_of_two
from runner.results.store import open_run
from runner.site import NativeSite
from runner.stacks.interpreters import PythonUnfit
from tests.matrix.examples import MYSQL, POSTGRES, UWSGI, age, make_cell, make_matrix
from tests.processes import ROOT, Family, connbench

if TYPE_CHECKING:
    import subprocess

SMALL = ROOT / "tests" / "matrices" / "small.yaml"
LIMIT = 500
#: Short, for what is far from the limit.
BRIEF = "server=uwsgi,load.profile=hold,load.count=300ms,load.windows=2,load.window=400ms,load.users=8"


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("0.05", 0.05), ("2.5%", 0.025), ("40%", 0.4)])
def test_a_limit_is_a_share(text: str, share: float) -> None:
    assert parse_limit(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["5", "0", "-1%", "50%", "five", "nan", "inf%", ""])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--limit"):
        parse_limit(text)


def two(database: dict[str, Any], *, apart: bool) -> Any:
    base = replace(make_cell(POSTGRES, UWSGI, age(60)), id="base", database_name="pg")
    candidate = replace(make_cell(database, UWSGI, age(0)), id="candidate", database_name="pg")
    return plan_of_two(base, candidate, make_matrix({"connection": ["forever"]}), 7, 3, apart=apart)


def test_both_are_in_every_block_and_begin_by_turns() -> None:
    plan = two(POSTGRES, apart=False)
    assert [[planned.cell for planned in group.attempts] for group in plan.groups] == [
        ["base", "candidate"],
        ["candidate", "base"],
        ["base", "candidate"],
    ]
    assert {group.turns for group in plan.groups} == {"ABBA"}
    assert [group.block for group in plan.groups] == [1, 2, 3]
    assert {group.database_of(cell) for group in plan.groups for cell in plan.cells} == {"pg"}


@pytest.mark.parametrize(
    ("database", "apart"),
    [(POSTGRES, True), (MYSQL, False), ({**POSTGRES, "settings": {"work_mem": "1MB"}}, False)],
)
def test_each_has_its_own_database_where_they_may_differ(database: dict[str, Any], apart: bool) -> None:
    for group in two(database, apart=apart).groups:
        assert group.database_of("base") != group.database_of("candidate")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"candidate": "server=uswgi"}, "--candidate: server: found 'uswgi'"),
        ({"candidate": "app@no-such-revision"}, "--candidate: no-such-revision: no revision of "),
        ({"both": "load.windows=0"}, "load.windows=0: without windows"),
        ({"both": "load.model=open,load.rate=50"}, "in the open model"),
        ({"junit": Path("no/such/folder/x.xml")}, "--junit no/such/folder/x.xml: there is no folder"),
    ],
)
def test_what_cannot_be_gated_is_refused(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    """Before anything is started or written."""
    common = Options(matrix=SMALL, out=tmp_path / "out")
    with pytest.raises(UsageError) as refusal:
        gate(GateOptions(common, **{"base": "", "candidate": "", **more}), Console(), Console())
    assert words in str(refusal.value)
    assert not (tmp_path / "out").exists()


def side(versions: dict[str, str], server: dict[str, Any]) -> Side:
    cell = replace(make_cell(POSTGRES, server, age(60)), versions=versions, axes={"database": "pg", **versions})
    return Side(cell, find_app("shop", None, "--base"))


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The Pythons that environments were asked for with, by gate; Django 6.1 has packages for 3.12 and newer."""
    asked: list[set[str]] = []

    def build(_: NativeSite, cells: Sequence[Cell], __: Console) -> None:
        asked.append({cell.versions.get("python", "") for cell in cells})
        for cell in cells:
            if cell.versions.get("django") == "6.1" and "python" not in cell.versions:
                raise PythonUnfit("does not satisfy Python>=3.12")

    monkeypatch.setattr(NativeSite, "environments", build)
    return asked


def test_both_sides_run_under_one_python(built: list[set[str]]) -> None:
    """Django 5.2 under the runner's own against 6.1 under a newer one would compare two Pythons."""
    sides = {"base": side({"django": "5.2"}, UWSGI), "candidate": side({"django": "6.1"}, UWSGI)}
    found = under_one_python(sides, NativeSite(), Console(quiet=True))
    assert len(built) == 2
    (python,) = built[-1]
    assert {one.cell.versions["python"] for one in found.values()} == {python}
    assert {one.cell.axes["python"] for one in found.values()} == {python}, "it is told"


@pytest.mark.parametrize(
    ("versions", "server"),
    [({"django": "6.1", "python": "3.11"}, UWSGI), ({"django": "6.1"}, {"kind": "mod_wsgi"})],
)
def test_a_python_that_is_given_stays(built: list[set[str]], versions: dict[str, str], server: dict[str, Any]) -> None:
    sides = {"base": side({}, server), "candidate": side(versions, server)}
    assert under_one_python(sides, NativeSite(), Console(quiet=True)) is sides
    assert built == []


@pytest.fixture
def step_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    page = tmp_path / "step.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    return page


@pytest.mark.server
@pytest.mark.alone
@pytest.mark.timeout(600)
def test_a_candidate_at_half_its_workers_is_caught(tmp_path: Path, step_page: Path) -> None:
    """Requests sleep in the database: with an eighth of the threads an eighth of the throughput is left."""
    arguments = ["--both", BRIEF, "--candidate", "server.processes=1,server.threads=2", "--wait"]
    junit, log = tmp_path / "gate.xml", tmp_path / "log"
    process = connbench(
        ["gate", "-m", str(SMALL), "--out", str(tmp_path / "out"), "--junit", str(junit), *arguments], log
    )
    family = Family(process.pid)
    family.watch_until(lambda: process.poll() is not None, LIMIT)
    assert family.alive() == []
    assert process.returncode == 1, log.read_text()
    folder = open_run(tmp_path / "out" / "latest")
    result = GateResult.model_validate_json((folder.path / "gate.json").read_text())
    assert result.verdict == "fail"
    assert result.first is not None
    assert result.confirmation is not None
    assert result.first.low > 0.05
    assert result.confirmation.low > 0.05
    assert set(result.first.blocks).isdisjoint(result.confirmation.blocks)
    end = folder.end()
    assert end is not None
    assert end.status == "finished"
    assert len(end.databases) == 1, "one server for both, started once"
    assert step_page.read_text().startswith("## connbench gate: fail")
    assert ET.parse(junit).getroot().attrib["failures"] == "1"
    assert (folder.path / "report.html").exists()
    for _, record in folder.attempts():
        assert [window.position for window in record.windows] in ([0, 1], [1, 0]), "windows in turns, ABBA"


@pytest.fixture
def gating(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Family, Path]]:
    """A gate of two revisions that has begun its first block."""
    arguments = ["--both", BRIEF, "--base", "app@HEAD", "--candidate", "", "--wait"]
    process = connbench(["gate", "-m", str(SMALL), "--out", str(tmp_path / "out"), *arguments], tmp_path / "log")
    family = Family(process.pid)
    events = tmp_path / "out" / "latest" / "events.jsonl"
    try:
        family.watch_until(lambda: events.exists() and "started" in events.read_text(), LIMIT)
        yield process, family, tmp_path / "out" / "latest"
    finally:
        process.kill()
        process.wait()


@pytest.mark.server
@pytest.mark.alone
@pytest.mark.timeout(600)
def test_an_interrupted_gate_has_no_verdict(gating: tuple["subprocess.Popen[bytes]", Family, Path]) -> None:
    process, family, folder = gating
    process.send_signal(signal.SIGINT)
    family.watch_until(lambda: process.poll() is not None, LIMIT)
    assert process.returncode == 130
    assert family.alive() == []
    assert json.loads((folder / "gate.json").read_text())["verdict"] is None
    run = json.loads((folder / "run.json").read_text())
    apps = [cell["axes"]["app"] for cell in run["cells"]]
    assert apps[0].startswith("shop@")
    assert apps[1] == "shop"
