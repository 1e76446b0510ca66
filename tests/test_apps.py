"""The app of a side: as it is, elsewhere, and as it was at a git revision."""

import subprocess
from pathlib import Path

import pytest

from runner.apps import find_app, take_app
from runner.errors import UsageError
from runner.stacks.app import ROOT


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An app in a repository of its own; its answer was another at the first revision."""
    app = tmp_path / "project" / "apps" / "little"
    app.mkdir(parents=True)
    (app / "app.yaml").write_text((ROOT / "apps" / "shop" / "app.yaml").read_text())
    (app.parent / "beside.txt").write_text("not the app's")
    git(tmp_path / "project", "init", "--quiet")
    for answer in ("first", "second"):
        (app / "answer.txt").write_text(answer)
        git(tmp_path / "project", "add", ".")
        git(tmp_path / "project", "commit", "--quiet", "-m", answer)
    (app / "answer.txt").write_text("not committed")
    return app


def test_the_files_as_they_are(project: Path, tmp_path: Path) -> None:
    source = find_app(str(project), None, "--base")
    assert (source.commit, source.shown) == (None, "little")
    app = take_app(source, tmp_path / "copy")
    assert (app.folder / "answer.txt").read_text() == "not committed"
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(("revision", "answer"), [("HEAD", "second"), ("HEAD~1", "first")])
def test_the_app_at_a_revision(project: Path, tmp_path: Path, revision: str, answer: str) -> None:
    source = find_app(str(project), revision, "--base")
    assert source.commit == git(project, "rev-parse", revision)
    app = take_app(source, tmp_path / "copy")
    assert (app.name, app.folder) == ("little", tmp_path / "copy")
    assert (app.folder / "answer.txt").read_text() == answer
    assert {path.name for path in app.folder.iterdir()} == {"app.yaml", "answer.txt"}
    assert (project / "answer.txt").read_text() == "not committed", "the work tree is left alone"


def test_an_app_by_its_name() -> None:
    assert find_app("shop", None, "--base").folder == ROOT / "apps" / "shop"


@pytest.mark.parametrize(
    ("app", "revision", "words"),
    [
        ("nothing", None, "--base: nothing: no app: "),
        ("", "no-such-branch", "--base: no-such-branch: no revision of "),
        ("", "--help", "--base: --help: no revision of "),
    ],
)
def test_what_is_not_there_is_refused(project: Path, app: str, revision: str | None, words: str) -> None:
    with pytest.raises(UsageError) as refusal:
        find_app(app or str(project), revision, "--base")
    assert str(refusal.value).startswith(words)
