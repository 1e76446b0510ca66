"""Which settings of uv hold for a project, and which workspace it is part of."""

from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.stacks.dependencies import read_packages
from runner.stacks.workspaces import workspace_of

ROOT = """
[project]
name = "root"
[tool.uv.workspace]
members = ["apps/*", "./backend/", "libs/**"]
exclude = ["apps/old"]
[tool.uv.sources]
acme-internal = {workspace = true}
forked = {git = "https://h.org/f", tag = "v1"}
"""
MEMBER = '[project]\nname = "backend"\ndependencies = ["Acme_Internal", "django", "forked"]\n'


def member(folder: Path, root: str, name: str = "backend", text: str = MEMBER) -> Path:
    """A pyproject.toml below another one."""
    path = folder / name / "pyproject.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    (folder / "pyproject.toml").write_text(root)
    return path


@pytest.mark.parametrize(
    ("name", "belongs"),
    [("backend", True), ("apps/shop", True), ("libs/deep/one", True), ("apps/old", False), ("other", False)],
)
def test_a_workspace_has_the_members_that_it_names(tmp_path: Path, name: str, belongs: bool) -> None:
    path = member(tmp_path, ROOT, name)
    assert workspace_of(path) == (tmp_path / "pyproject.toml" if belongs else None)
    assert workspace_of(tmp_path / "pyproject.toml") is None


def test_a_member_has_the_sources_of_the_workspace(tmp_path: Path) -> None:
    path = member(tmp_path, ROOT)
    assert read_packages("mine", [path]).requirements == ("django", "forked @ git+https://h.org/f@v1")
    path.write_text(f'{MEMBER}[tool.uv.sources]\nforked = {{git = "https://h.org/f", tag = "v2"}}\n')
    assert read_packages("mine", [path]).requirements == ("django", "forked @ git+https://h.org/f@v2")


@pytest.mark.parametrize("explicit", ["true", "false"])
@pytest.mark.parametrize("file", ["pyproject.toml", "uv.toml", "backend/uv.toml"])
def test_an_index_that_is_declared_in_another_file_is_refused(tmp_path: Path, file: str, explicit: str) -> None:
    named = f'{MEMBER}[tool.uv.sources]\ndjango = {{index = "internal"}}\n'
    path = member(tmp_path, ROOT, text=named)
    table = "tool.uv.index" if file == "pyproject.toml" else "index"
    index = f'[[{table}]]\nname = "internal"\nurl = "https://p.example.org/simple"\nexplicit = {explicit}\n'
    (tmp_path / file).write_text(f"{ROOT}{index}" if file == "pyproject.toml" else index)
    with pytest.raises(UsageError, match=r"come from p\.example\.org/simple, which is not asked here"):
        read_packages("mine", [path])


def test_a_workspace_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = member(tmp_path, "[project")
    with pytest.raises(UsageError, match=rf"{path}: .* {tmp_path}/pyproject\.toml: "):
        read_packages("mine", [path])
