"""`connbench bisect` as its users meet it: what it refuses, how it goes on, and one walk on real servers."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from runner.analysis.bisection import Bisection, Step
from runner.analysis.gate import GateResult, Look
from runner.bench import Options
from runner.bisect import BisectOptions, bisect
from runner.errors import EnvironmentUnfit, UsageError
from runner.gate import GateOptions, Measured
from runner.results.schema import RunEnd
from runner.results.store import read_json
from runner.stacks import environment
from runner.stacks.versions import Recipe
from tests.indexes import FakeRelease, serving
from tests.processes import ROOT
from tests.synthetic import write_run

MATRIX = ROOT / "tests" / "matrices" / "advise.yaml"
LOOK = Look(blocks=[1, 2, 3], slowdown=0.5, low=0.4, high=0.6, spread=0.03)
QUICK = "def split(sql): return [sql]\ndef format(sql, **_): return sql\ndef work(): pass\n"
#: A few milliseconds of the processor, many times what a request takes.
SLOW = QUICK.replace("def work(): pass", "def work():\n    for _ in range(900_000): pass")
RELEASES = [
    FakeRelease("99.0.0", QUICK),
    FakeRelease("99.0.1", SLOW, yanked="too slow"),
    FakeRelease("99.0.2", QUICK),
    FakeRelease("99.0.3", QUICK, requires_python=">=3.99"),
    FakeRelease("99.1rc1", SLOW),
    FakeRelease("99.1", SLOW),
]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """sqlparse, which every Django brings along, in releases that nobody made."""
    with serving(tmp_path / "index", "sqlparse", RELEASES) as url:
        monkeypatch.setenv("UV_INDEX", url)
        monkeypatch.delenv("UV_INDEX_STRATEGY", raising=False)
        yield url


def options(tmp_path: Path, **more: Any) -> BisectOptions:
    asked = {"package": "sqlparse", "good": "99.0.0", "bad": "99.1", "limit": 0.4, **more}
    return BisectOptions(Options(matrix=MATRIX, out=tmp_path / "out"), **asked)


def quiet() -> Console:
    return Console(quiet=True)


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"good": "99.7.7"}, "--good 99.7.7: sqlparse has no such release"),
        ({"good": "99.0.3"}, "--good 99.0.3: sqlparse 99.0.3 needs Python >=3.99"),
        ({"good": "99.1", "bad": "99.0.0"}, "--good 99.1 is not older than --bad 99.0.0"),
        ({"package": "sqlprase"}, "did you mean 'sqlparse'"),
        ({"package": "server"}, "server: no package whose released versions"),
        ({"package": "eventlet", "good": "0.35", "bad": "0.36"}, "has no eventlet"),
        ({"package": "django", "good": "5.1", "bad": "main"}, "released versions are walked; git bisect walks commits"),
        ({"bad": "newest"}, "--bad: sqlparse: found 'newest'"),
        ({"both": "server=nobody"}, "server: found 'nobody'"),
    ],
)
def test_what_cannot_be_walked_is_refused(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    """Before anything is started or written."""
    with pytest.raises(UsageError) as refusal:
        bisect(options(tmp_path, **more), quiet(), quiet())
    assert words in str(refusal.value)
    assert not (tmp_path / "out").exists()


class Gates:
    """Stands in for the gate: verdicts by candidate; notes what it was asked. None is an interrupt."""

    def __init__(self, tmp_path: Path, verdicts: dict[str, str | None]) -> None:
        self._tmp_path = tmp_path
        self.verdicts = verdicts
        self.asked: list[tuple[str, str]] = []

    def __call__(self, gate: GateOptions, _: Console) -> Measured:
        self.asked.append((gate.base, gate.candidate))
        verdict = self.verdicts[gate.candidate]
        folder = write_run(self._tmp_path / str(len(self.asked)), [], blocks=0)
        end = folder.end()
        assert end is not None
        if verdict is None:
            end = RunEnd.model_validate({**end.model_dump(), "status": "interrupted"})
        result = GateResult.model_validate({"limit": 0.4, "verdict": verdict, "reason": "so", "first": LOOK})
        return Measured(folder, end, result, folder.path / "report.html")


@pytest.fixture
def gates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str) -> Gates:
    assert index
    made = Gates(tmp_path / "gates", {"sqlparse=99.1.0": "fail", "sqlparse=99.0.2": "pass"})
    monkeypatch.setattr("runner.bisect.measure_gate", made)
    monkeypatch.setattr("runner.bisect.build_environment", lambda _: None)
    return made


def notes(tmp_path: Path) -> Bisection:
    (path,) = (tmp_path / "out").glob("bisect-sqlparse-99.0.0-99.1-*.json")
    return read_json(path, Bisection)


def told(tmp_path: Path, capsys: pytest.CaptureFixture[str], **more: Any) -> tuple[int, str]:
    code = bisect(options(tmp_path, **more), Console(width=200), quiet())
    return code, capsys.readouterr().out


def test_it_walks_and_says_between_which_two(tmp_path: Path, gates: Gates, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = told(tmp_path, capsys)
    assert code == 0
    assert gates.asked == [
        ("sqlparse=99.0.0", "sqlparse=99.1.0"),
        ("sqlparse=99.0.0", "sqlparse=99.0.2"),
    ], "the bad one first; 99.1 as 99.1.0, since 99.1 alone is a series"
    assert "sqlparse: slower by more than 40 % from 99.1 on; 99.0.2 was not" in text
    for line in ("99.0.1: yanked: too slow", "99.0.3: needs Python >=3.99", "99.1rc1: a pre-release"):
        assert f"left out: {line}" in text
    assert [step.version for step in notes(tmp_path).steps] == ["99.1", "99.0.2"]
    assert bisect(options(tmp_path), quiet(), quiet()) == 0
    assert len(gates.asked) == 2, "everything is known already"


def test_it_goes_on_where_it_was_broken_off(tmp_path: Path, gates: Gates, capsys: pytest.CaptureFixture[str]) -> None:
    gates.verdicts["sqlparse=99.0.2"] = None
    code, text = told(tmp_path, capsys)
    assert code == 130
    assert "no answer yet" in text
    assert [step.version for step in notes(tmp_path).steps] == ["99.1"]
    gates.verdicts["sqlparse=99.0.2"] = "fail"
    code, text = told(tmp_path, capsys)
    assert code == 0
    assert [candidate for _, candidate in gates.asked] == ["sqlparse=99.1.0", "sqlparse=99.0.2", "sqlparse=99.0.2"]
    assert "from 99.0.2 on; 99.0.0 was not" in text
    told(tmp_path, capsys, limit=0.3)
    assert len(gates.asked) == 5, "under another limit nothing is known yet"


@pytest.mark.parametrize(
    ("verdict", "code", "words"),
    [
        ("pass", 0, "sqlparse: not distinguishable: 99.1 is not slower than 99.0.0"),
        ("underpowered", 1, "sqlparse: underpowered: it could not be told whether 99.1 is slower"),
        ("warn", 1, "sqlparse: underpowered"),
    ],
)
def test_the_bad_one_has_to_be_slow_first(
    tmp_path: Path, gates: Gates, capsys: pytest.CaptureFixture[str], verdict: str, code: int, words: str
) -> None:
    gates.verdicts["sqlparse=99.1.0"] = verdict
    found, text = told(tmp_path, capsys)
    assert (found, len(gates.asked)) == (code, 1)
    assert words in text


def test_a_version_that_cannot_be_installed_is_no_slow_one(
    tmp_path: Path, gates: Gates, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(recipe: Any) -> None:
        if ("sqlparse", "99.0.2") in recipe.versions:
            raise EnvironmentUnfit("locking failed:\nno way")

    monkeypatch.setattr("runner.bisect.build_environment", build)
    code, text = told(tmp_path, capsys)
    assert (code, len(gates.asked)) == (0, 1)
    assert "from 99.1 on or before; 99.0.0 was not; between them: 99.0.2" in text
    (step,) = (step for step in notes(tmp_path).steps if step.version == "99.0.2")
    assert step == Step(version="99.0.2", outcome="unknown", gate=None, reason="cannot be installed: locking failed:")


def test_what_could_not_be_installed_is_tried_again(
    tmp_path: Path, gates: Gates, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(recipe: Any) -> None:
        raise EnvironmentUnfit("the index does not answer")

    with monkeypatch.context() as patch:
        patch.setattr("runner.bisect.build_environment", build)
        code, text = told(tmp_path, capsys)
    assert (code, gates.asked) == (1, [])
    assert "underpowered" in text
    assert [step.version for step in notes(tmp_path).steps] == ["99.1"]
    code, text = told(tmp_path, capsys)
    assert (code, len(gates.asked)) == (0, 2)
    assert "99.0.2 was not" in text
    assert [(step.version, step.gate) for step in notes(tmp_path).steps] == [("99.1", "fail"), ("99.0.2", "pass")]


def test_another_description_or_other_packages_of_the_app_begin_anew(
    tmp_path: Path, shop: Path, gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.bisect.python_version", lambda _: "3.11.7")
    description = (shop / "app.yaml").read_text()
    (shop / "app.yaml").write_text(f"{description}\ndependencies: [requirements.txt]\n")
    for times, (requirement, more) in enumerate((("six==1.16", ""), ("six==1.17", ""), ("six==1.17", "env: {A: b}\n"))):
        (shop / "requirements.txt").write_text(f"{requirement}\n")
        (shop / "app.yaml").write_text(f"{description}\ndependencies: [requirements.txt]\n{more}")
        for _ in range(2):
            assert bisect(options(tmp_path, both=f"app={shop}"), quiet(), quiet()) == 0
            assert len(gates.asked) == 2 * (times + 1)


def test_the_apps_own_packages_and_python_are_tried(
    tmp_path: Path, shop: Path, gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In which versions are looked for, too: another Python has others."""
    asked: list[Recipe] = []
    tried: list[Recipe] = []

    def version(recipe: Recipe) -> str:
        asked.append(recipe)
        return "3.11.7"

    monkeypatch.setattr("runner.bisect.python_version", version)
    monkeypatch.setattr("runner.bisect.build_environment", tried.append)
    (shop / "requirements.txt").write_text("whitenoise==6.9.0\n")
    description = (shop / "app.yaml").read_text()
    (shop / "app.yaml").write_text(f'{description}\npython: "3.11"\ndependencies: [requirements.txt]\n')
    assert bisect(options(tmp_path, both=f"app={shop}"), quiet(), quiet()) == 0
    assert len(tried) == 2
    for recipe in (*asked, *tried):
        assert recipe.app is not None
        assert recipe.app.requirements == ("whitenoise==6.9.0",)
        assert ("python", "3.11") in recipe.versions


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The shop with a middleware that has sqlparse work for every request."""
    folder = tmp_path / "shop"
    shutil.copytree(ROOT / "apps" / "shop", folder, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3"))
    (folder / "shop" / "working.py").write_text(
        "import sqlparse\n\n\ndef working(get_response):\n    def middleware(request):\n"
        "        sqlparse.work()\n        return get_response(request)\n\n    return middleware\n"
    )
    settings = folder / "shop" / "settings.py"
    text = settings.read_text()
    assert "MIDDLEWARE = [\n" in text
    settings.write_text(text.replace("MIDDLEWARE = [\n", 'MIDDLEWARE = [\n    "shop.working.working",\n'))
    return folder


@pytest.mark.server
@pytest.mark.alone
@pytest.mark.usefixtures("index")
@pytest.mark.timeout(1500)
def test_the_version_that_burns_the_processor_is_found(
    tmp_path: Path, shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real environments from a real index, real gates; the loss is some 80 %, and the limit is 40 %."""
    monkeypatch.setattr(environment, "CACHE", tmp_path / "envs")
    brief = "load.profile=read,load.count=200ms,load.windows=2,load.window=400ms"
    code, text = told(tmp_path, capsys, both=f"app={shop},server=few,connection=forever,{brief}")
    outcomes = notes(tmp_path).outcomes
    # Noise may leave a version unresolved; it makes no quick one slow, and no slow one quick.
    assert outcomes["99.1"] in ("slow", "unknown"), text
    assert outcomes.get("99.0.2", "unknown") in ("quick", "unknown"), text
    if dict(outcomes) == {"99.1": "slow", "99.0.2": "quick"}:
        assert code == 0
        assert "sqlparse: slower by more than 40 % from 99.1 on; 99.0.2 was not" in text
    for step in notes(tmp_path).steps:
        assert (tmp_path / "out" / step.run / "gate.json").exists()
