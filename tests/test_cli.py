"""The command line as its users meet it: what goes where, and with which exit code it ends."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from runner import cli, doctor, site
from runner.bench import Options
from runner.errors import EnvironmentUnfit
from runner.matrix.reading import read_matrix
from runner.stacks.databases import DATABASES
from tests.processes import ROOT
from tests.synthetic import models, showcase, write_run

SMALL = str(ROOT / "tests" / "matrices" / "small.yaml")

#: A run that came to its end, and one that was killed.
ENDS: dict[str, Literal["finished"] | None] = {"base": "finished", "new": None}

#: Exit code, stdout, stderr.
Outcome = tuple[int, str, str]
Connbench = Callable[..., Outcome]


@pytest.fixture
def connbench(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Connbench:
    """The command in this process."""

    def call(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["connbench", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        code = left.value.code
        assert code is None or isinstance(code, int)
        return (code or 0, *capfd.readouterr())

    return call


@pytest.fixture
def _starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **_: object) -> None:
        raise AssertionError(f"started {arguments}")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(subprocess, "run", refuse)


def matrix_file(folder: Path, content: str) -> str:
    path = folder / "matrix.yaml"
    path.write_text(content)
    return str(path)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("measure",),
        ("run", "--blocks", "0"),
        ("run", "--blocks", "many"),
        ("run", "--seed", "-1"),
        ("run", "--provider", "moon"),
        ("run", "something"),
        ("table", "--format", "xml"),
        ("plan", "--only", "x", "--nothing"),
    ],
)
@pytest.mark.usefixtures("_starts_nothing")
def test_bad_usage_exits_2(connbench: Connbench, arguments: tuple[str, ...]) -> None:
    code, out, err = connbench(*arguments)
    assert code == 2
    assert "Traceback" not in out + err


@pytest.mark.usefixtures("_starts_nothing")
@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name: [", ":1:8: "),
        ("name: x\nblokcs: 3\n", "blocks"),
        (Path(SMALL).read_text().replace("workers: 4", "workers: none"), "workers"),
        (Path(SMALL).read_text().replace("profile: mixed", "profile: mxied"), "mixed"),
        (Path(SMALL).read_text().replace("app: shop", "app: shpo"), "shop"),
    ],
)
def test_a_bad_matrix_exits_2_with_a_message(
    connbench: Connbench, tmp_path: Path, command: str, content: str, words: str
) -> None:
    path = matrix_file(tmp_path, content)
    code, out, err = connbench(command, "-m", path)
    assert (code, out) == (2, "")
    assert err.startswith(f"connbench: {path}")
    assert words in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("_starts_nothing")
def test_very_many_cells_are_refused_unless_meant(connbench: Connbench, tmp_path: Path) -> None:
    head, tail = Path(SMALL).read_text().split("matrix:\n", 1)
    path = matrix_file(tmp_path, f"{head}matrix:\n  load.users: {list(range(1, 401))}\n{tail}")
    for command in ("plan", "run"):
        code, out, err = connbench(command, "-m", path)
        assert (code, out) == (2, "")
        assert "at most 2,000 are taken" in err
        assert "--yes" in err
    code, out, _ = connbench("plan", "-m", path, "--yes", "--json")
    assert code == 0
    assert len(json.loads(out)["cells"]) > 2_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("plan", "-m", "no/such/file.yaml"), "no/such/file.yaml: there is no such file"),
        (("run", "-m", SMALL, "--only", "pg-snyc-*"), "matches none of the 10 cells"),
        (("report", "no/such/run"), "there is no such run folder"),
        (("table", str(ROOT)), "no run folder (run.json is missing)"),
    ],
)
@pytest.mark.usefixtures("_starts_nothing")
def test_what_is_not_there_exits_2(connbench: Connbench, arguments: tuple[str, ...], words: str) -> None:
    code, out, err = connbench(*arguments)
    assert (code, out) == (2, "")
    assert words in err


@pytest.mark.usefixtures("_starts_nothing")
def test_a_missing_database_server_exits_3_with_the_remedy(
    connbench: Connbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> str:
        raise EnvironmentUnfit("PostgreSQL's programs are not installed [none found]; to get them: make setup")

    monkeypatch.setattr(DATABASES["postgres"], "installed", missing)
    code, out, err = connbench("run", "-m", SMALL, "--only", "pg-*", "--out", str(tmp_path / "out"))
    assert (code, out) == (3, "")
    assert err == "connbench: PostgreSQL's programs are not installed [none found]; to get them: make setup\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("_starts_nothing")
def test_plan_prints_cells_and_starts_nothing(connbench: Connbench) -> None:
    code, out, err = connbench("plan", "-m", SMALL)
    assert (code, err) == (0, "")
    for cell in ("pg-sync-per-request", "my-uwsgi-forever"):
        assert cell in out
    (skipped,) = [line for line in out.splitlines() if "my-sync-pooled" in line]
    assert "pool" in skipped.partition(":")[2], "with the reason"
    assert "10 cells, 1 block, 10 attempts" in out
    assert max(map(len, out.splitlines())) <= 120


@pytest.mark.usefixtures("_starts_nothing")
def test_plan_as_json(connbench: Connbench) -> None:
    code, out, err = connbench("plan", "-m", SMALL, "--json")
    plan = json.loads(out)
    assert (code, err) == (0, "")
    assert len(plan["cells"]) == len(plan["attempts"]) == 10
    assert {cell["id"] for cell in plan["skipped"]} == {"my-sync-pooled", "my-uwsgi-pooled"}
    assert all(cell["reason"] for cell in plan["skipped"])
    uwsgi = next(cell for cell in plan["cells"] if cell["id"] == "pg-uwsgi-forever")
    assert uwsgi["predicted"]["max"] == 16
    assert uwsgi["params"]["server"]["threads"] == 4


@pytest.mark.usefixtures("_starts_nothing")
def test_plan_from_a_deployments_environment(connbench: Connbench, tmp_path: Path) -> None:
    file = tmp_path / "deploy.env"
    settings = "DB_ENGINE=postgresql\nDB_CONN_MAX_AGE=60\nUWSGI_PROCESSES=4\nUWSGI_THREADS=4\n"
    file.write_text(f"{settings}SENTRY_DSN=private\n")
    code, out, err = connbench("plan", "--from-env", str(file), "--json")
    assert code == 0
    (cell,) = json.loads(out)["cells"]
    assert (cell["predicted"]["min"], cell["predicted"]["max"]) == (4, 16)
    assert f"{file}:5: SENTRY_DSN" in err.replace("\n", "")
    assert "private" not in out + err

    file.write_text(f"{settings}DB_POOL_ENABLED=1\n")
    code, out, err = connbench("plan", "--from-env", str(file))
    assert (code, out) == (2, "")
    assert err.startswith("connbench: this deployment cannot work: a pool needs conn_max_age 0, not 60")


@pytest.mark.usefixtures("_starts_nothing")
def test_schema_is_json(connbench: Connbench) -> None:
    code, out, _ = connbench("schema")
    assert code == 0
    schema: dict[str, Any] = json.loads(out)
    assert schema["type"] == "object"
    assert {"databases", "servers", "connections", "matrix"} <= set(schema["properties"])


def runs(monkeypatch: pytest.MonkeyPatch, code: int) -> list[Options]:
    """The options of each run from now on; it ends at once with this code."""
    seen: list[Options] = []

    def end(options: Options, *_: object) -> int:
        seen.append(options)
        return code

    monkeypatch.setattr(cli, "bench", end)
    return seen


def test_options_reach_the_run(connbench: Connbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = runs(monkeypatch, 130)
    arguments = [
        "run",
        "-m",
        SMALL,
        "--blocks",
        "2",
        "--only",
        "pg-*",
        "--quick",
        "--seed",
        "7",
        "--out",
        str(tmp_path),
    ]
    assert connbench(*arguments)[0] == 130
    assert seen == [
        Options(
            matrix=Path(SMALL),
            out=tmp_path,
            blocks=2,
            only="pg-*",
            quick=True,
            seed=7,
            command=" ".join(["connbench", *arguments]),
        )
    ]


def test_defaults(connbench: Connbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The matrix in the current folder, results beside it."""
    seen = runs(monkeypatch, 0)
    assert connbench("run")[0] == 0
    assert (seen[0].matrix, seen[0].out, seen[0].blocks, seen[0].seed) == (
        Path("matrix.yaml"),
        Path("results"),
        None,
        None,
    )
    assert read_matrix(ROOT / seen[0].matrix).name == "default"


def test_tables_again(connbench: Connbench, tmp_path: Path) -> None:
    folder = str(write_run(tmp_path, models()[:4], blocks=1).path)
    code, out, _ = connbench("table", folder, "--format", "json")
    assert code == 0
    assert json.loads(out)
    code, out, _ = connbench("table", folder, "--format", "csv")
    assert code == 0
    assert any(line.startswith("pg-sync-forever,") for line in out.splitlines())
    code, out, err = connbench("table", folder)
    assert (code, err) == (0, "")
    assert "pg-sync-forever" in out
    assert max(map(len, out.splitlines())) <= 120


def test_tables_of_a_run_that_failed_exit_1(connbench: Connbench, tmp_path: Path) -> None:
    folder = showcase(tmp_path, blocks=2).path
    code, out, _ = connbench("table", str(folder), "--format", "md")
    assert code == 1
    assert "my-gevent-forever" in out


def test_a_site_is_published(connbench: Connbench, tmp_path: Path) -> None:
    write_run(tmp_path / "results", models()[:2], blocks=1)
    code, out, err = connbench("publish", str(tmp_path / "results"), "--out", str(tmp_path / "site"))
    assert (code, err) == (0, "")
    assert "1 run, 1 of them new" in out
    assert (tmp_path / "site" / "index.html").is_file()


def test_what_cannot_be_published_or_served_is_said(connbench: Connbench, tmp_path: Path) -> None:
    for command in ("publish", "serve"):
        code, out, err = connbench(command, str(tmp_path / "nowhere"))
        assert (code, out) == (2, "")
        assert "there is no such folder" in err


def test_two_runs_compared(connbench: Connbench, tmp_path: Path) -> None:
    base, new = (str(write_run(tmp_path / name, models()[:2], seed=1).path) for name in ("base", "new"))
    code, out, err = connbench("compare", base, new, "--format", "json")
    assert (code, err) == (0, "")
    assert {change["value"] for change in json.loads(out)["changes"]} == {1.0}
    code, out, _ = connbench("compare", base, new, "--ratios")
    assert code == 0
    assert "pg-sync-persistent" in out


def test_incomparable_runs_exit_2_and_say_what_differs(connbench: Connbench, tmp_path: Path) -> None:
    base, new = (str(write_run(tmp_path / name, models()[:2], end=end).path) for name, end in ENDS.items())
    code, out, err = connbench("compare", base, new)
    assert (code, out) == (2, "")
    assert "database pg: product: PostgreSQL 15.18 → not recorded" in err
    assert connbench("compare", base, new, "--ratios")[0] == 0


def test_history(connbench: Connbench, tmp_path: Path) -> None:
    run, history = str(write_run(tmp_path, models()[:2], seed=1).path), str(tmp_path / "history")
    assert connbench("history", "--history", history)[:2] == (
        0,
        "No night in the history yet: connbench history add RUN\n",
    )
    code, out, _ = connbench("history", "add", run, "--history", history)
    assert (code, out.strip()) == (0, f"{history}/2025-11-21.json")
    code, out, _ = connbench("history", "--history", history)
    assert code == 0
    assert "1 night, 2025-11-21" in out
    assert "No changes." in out


def test_report_again(connbench: Connbench, tmp_path: Path) -> None:
    folder = write_run(tmp_path, models()[:4], blocks=1).path
    code, out, err = connbench("report", str(folder))
    assert (code, out.strip(), err) == (0, str(folder / "report.html"), "")
    assert (folder / "report.html").stat().st_size > 1000
    assert (folder / "summary.json").exists()


@pytest.mark.parametrize("found", [0, 3])
def test_doctor(connbench: Connbench, monkeypatch: pytest.MonkeyPatch, found: int) -> None:
    monkeypatch.setattr(doctor, "examine", lambda _: found)
    assert connbench("doctor")[0] == found


def test_an_interrupt_before_the_run_exits_130(connbench: Connbench, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(recipe: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(site, "build_environment", interrupt)
    monkeypatch.setattr(doctor, "require_programs", lambda *_: None)
    code, _, err = connbench("run", "-m", SMALL)
    assert code == 130
    assert "Traceback" not in err


def test_as_a_module() -> None:
    """`python -m runner` is the same command."""
    done = subprocess.run(
        [sys.executable, "-m", "runner", "plan", "-m", "x"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "connbench: x: there is no such file\n"
