"""Packages from a git repository: how they are written, which commit that is, and one that is really installed."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import EnvironmentUnfit
from runner.matrix.expansion import expand
from runner.matrix.variants import parse_variant
from runner.stacks import environment
from runner.stacks.environment import AppEnvironment, build_environment
from runner.stacks.sources import pinned, pinned_requirement
from runner.stacks.versions import Recipe, VersionsSpec, override, parse_source, recipe
from tests.matrix.examples import make_matrix
from tests.stacks.test_environment import Builder, builder, lock  # noqa: F401  fixtures

#: A package whose build needs nothing from anywhere.
PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "tiny"
version = "1.0"
"""
BACKEND = """\
import zipfile

INFO = "tiny-1.0.dist-info"
FILES = {
    "tiny.py": "",
    f"{INFO}/METADATA": "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n",
    f"{INFO}/WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
}


def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "tiny-1.0-py3-none-any.whl"
    record = "".join(f"{path},,\\n" for path in [*FILES, f"{INFO}/RECORD"])
    with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
        for path, text in {**FILES, f"{INFO}/RECORD": record}.items():
            wheel.writestr(path, text)
    return name
"""


class Repository:
    """A git repository of the package `tiny` with a branch `main`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        (folder / "pyproject.toml").write_text(PROJECT)
        (folder / "backend.py").write_text(BACKEND)
        self.first = self.commit("one")

    @property
    def url(self) -> str:
        return f"git+file://{self.folder}"

    def git(self, *arguments: str) -> str:
        own = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(self.folder), *own, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, words: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", words)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "tiny")


def test_an_apps_requirement_is_the_commit_that_it_is_now(repository: Repository) -> None:
    """Otherwise what was made of a branch once would be measured for ever."""
    repository.git("tag", "v1")
    second = repository.commit("two")
    pinned_to = {"@v1": repository.first, "@main": second, "": second}
    for reference, commit in pinned_to.items():
        wanted = f"tiny[x] @ {repository.url}{reference}#subdirectory=python"
        assert pinned_requirement(wanted) == f"tiny[x] @ {repository.url}@{commit}#subdirectory=python"
    for other in ("tiny>=1", "tiny @ https://h.org/tiny.zip", f"tiny @ git+ssh://git@h.org/tiny@{second}"):
        assert pinned_requirement(other) == other
    with pytest.raises(EnvironmentUnfit, match="has no branch or tag gone"):
        pinned_requirement(f"tiny @ {repository.url}@gone")


@pytest.mark.parametrize(
    ("fragment", "part"),
    [
        ("#egg=tiny", ""),
        ("#egg=tiny&subdirectory=python", "#subdirectory=python"),
        ("#subdirectory=python&egg=tiny", "#subdirectory=python"),
    ],
)
def test_pips_older_spelling_is_a_commit_as_well(repository: Repository, fragment: str, part: str) -> None:
    repository.git("tag", "v1+local")
    for reference in ("@main", "@v1+local", ""):
        wanted = f"tiny @ {repository.url}{reference}{fragment}"
        assert pinned_requirement(wanted) == f"tiny @ {repository.url}@{repository.first}{part}"


@pytest.mark.parametrize(
    "address", ["git+http://h.org/x@main", "git+git@h.org:x@main", "git+https://t0ken@h.org/x@a~1"]
)
def test_an_address_that_cannot_be_a_commit_is_refused(address: str) -> None:
    with pytest.raises(EnvironmentUnfit, match=r"tiny: .* write git\+https://") as refusal:
        pinned_requirement(f"tiny @ {address}")
    assert "t0ken" not in str(refusal.value)


def test_a_branch_is_the_commit_that_it_is_now(repository: Repository) -> None:
    assert pinned(f"{repository.url}@main") == f"{repository.url}@{repository.first}"
    second = repository.commit("two")
    assert pinned(f"{repository.url}@main") == f"{repository.url}@{second}"
    assert pinned(f"{repository.url}@{repository.first}") == f"{repository.url}@{repository.first}"


def test_a_tag_is_its_commit_and_a_folder_stays(repository: Repository) -> None:
    repository.git("tag", "--annotate", "--message", "words", "1.0")
    repository.git("branch", "feature/quick")
    repository.commit("two")
    for reference in ("1.0", "feature/quick"):
        asked = f"{repository.url}@{reference}#subdirectory=src/tiny"
        assert pinned(asked) == f"{repository.url}@{repository.first}#subdirectory=src/tiny"


def test_released_versions_are_left_alone() -> None:
    assert pinned("5.2.8") == "5.2.8"


def test_what_is_not_there_is_told_in_git_s_own_words(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnfit, match="has no branch or tag nothing"):
        pinned(f"{repository.url}@nothing")
    with pytest.raises(EnvironmentUnfit, match=r"does not (appear to be a git repository|exist)"):
        pinned(f"git+file://{tmp_path}/nowhere@main")


def test_it_can_stand_wherever_a_version_can() -> None:
    text = "git+file:///home/me/django@main"
    assert VersionsSpec.model_validate({"django": text}).by_package == {"django": text}
    assert parse_variant(f"django={text},psycopg=3.2", "--base").versions == {"django": text, "psycopg": "3.2"}
    assert override("psycopg[binary]", text) == f"psycopg[binary] @ {text}"
    matrix = make_matrix({"database": ["pg"], "server": ["sync"], "django": ["5.2", text, text.replace("main", "old")]})
    ids = [cell.id for cell in expand(matrix).cells if cell.connection_name == "forever"]
    assert ids == [f"pg-sync-forever-django-{name}" for name in ("5-2", "django-main", "django-old")]


@pytest.mark.parametrize(
    "text",
    [
        "trunk",
        "git+file:///x",
        "git+http://host/x@main",
        "git+file:///x@main; rm",
        "git+file:///x@ma in",
        "file:///x@main",
    ],
)
def test_nothing_else_is_taken_for_one(text: str) -> None:
    assert parse_source(text) is None
    with pytest.raises(ValueError, match="or a git reference such as"):
        VersionsSpec.model_validate({"django": text})


@given(
    path=st.from_regex(r"(/[A-Za-z0-9_.~@ -]{1,60}){1,6}", fullmatch=True).filter(lambda path: " " not in path),
    reference=st.from_regex(r"[A-Za-z0-9_./-]{1,120}", fullmatch=True),
)
def test_a_recipe_s_name_names_a_folder(path: str, reference: str) -> None:
    name = recipe("psycopg3", {"django": f"git+file://{path}@{reference}"}).name
    assert "/" not in name
    assert len(name) < 100
    assert name != recipe("psycopg3", {"django": f"git+file://{path}x@{reference}"}).name


def test_a_branch_that_has_gone_on_is_another_environment(
    repository: Repository,
    lock: Path,  # noqa: F811
    builder: Builder,  # noqa: F811
) -> None:
    (lock.parent.parent / "pyproject.toml").write_text('[dependency-groups]\napp-some = ["tiny[fast]>=1"]\n')
    made = Recipe("some", (("tiny", f"{repository.url}@main"),))
    first = build_environment(made)
    compile_, venv, sync = builder.taken()
    overrides = Path(compile_[compile_.index("--overrides") + 1]).read_text()
    assert overrides == f"tiny[fast] @ {repository.url}@{repository.first}\n"
    assert "venv" in venv
    assert "sync" in sync
    assert build_environment(made) == first
    assert builder.taken() == []
    repository.commit("two")
    build_environment(made)
    assert len(builder.taken()) >= 1, "locked anew"


def test_it_is_installed_and_its_commit_is_known(repository: Repository, tmp_path: Path) -> None:
    """By uv, from a lock as uv makes it; a hash is asked for wherever a file can have one."""
    folder, written = tmp_path / "env", tmp_path / "lock.txt"
    written.write_text(f"tiny @ {repository.url}@{repository.first}\n")
    environment._install(folder, written, sys.executable)
    assert AppEnvironment(Recipe("some"), folder).versions()["tiny"] == f"1.0@{repository.first[:12]}"
