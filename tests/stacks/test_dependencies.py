"""Which packages a project asks for, in every file in which Python projects say so."""

import json
from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.stacks.dependencies import AppPackages, package_name, read_packages, specifier


def packages(tmp_path: Path, **files: str) -> AppPackages:
    paths = []
    for name, text in files.items():
        path = tmp_path / name.replace("_dot_", ".").replace("_slash_", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        paths.append(path)
    return read_packages("mine", paths)


def test_a_requirements_file_with_all_that_such_files_have(tmp_path: Path) -> None:
    (tmp_path / "base.txt").write_text("wagtail==7.0 ; python_version >= '3.10'\n")
    text = (
        "# comment\n--index-url https://example.org/\n-r base.txt\nDjango>=5.2,<5.3  # the LTS\n-e .\n./local\n"
        "requests[socks]==2.32.3 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n"
    )
    assert packages(tmp_path, requirements_dot_txt=text).requirements == (
        "Django<5.3,>=5.2",
        "requests[socks]==2.32.3",
        'wagtail==7.0; python_version >= "3.10"',
    )


def test_pyproject_of_pep_621_with_the_lock_of_uv(tmp_path: Path) -> None:
    lock = (
        '[[package]]\nname = "django"\nversion = "5.2.4"\nsource = { registry = "x" }\n'
        '[[package]]\nname = "mine"\nversion = "0.1"\nsource = { virtual = "." }\n'
        '[[package]]\nname = "numpy"\nversion = "1.26"\n[[package]]\nname = "numpy"\nversion = "2.0"\n'
    )
    project = '[project]\nname = "mine"\ndependencies = ["django~=5.2"]\n'
    found = packages(tmp_path, pyproject_dot_toml=project, uv_dot_lock=lock)
    assert found.requirements == ("django~=5.2",)
    assert found.constraints == ("django==5.2.4",), "neither the project itself nor what has several versions"


def test_poetry_with_its_lock(tmp_path: Path) -> None:
    project = """
[tool.poetry.dependencies]
python = "^3.11"
django = "^5.2.1"
celery = {version = "~5.4", extras = ["redis"]}
pywin = {version = "*", markers = "sys_platform == 'win32'"}
never = {version = "^1.0", optional = true}
beside = {path = "../beside"}
"""
    found = packages(
        tmp_path, pyproject_dot_toml=project, poetry_dot_lock='[[package]]\nname = "django"\nversion = "5.2.3"\n'
    )
    assert found.requirements == (
        "celery[redis]<5.5,>=5.4",
        "django<6,>=5.2.1",
        'pywin; sys_platform == "win32"',
    )
    assert found.constraints == ("django==5.2.3",)


def test_pipfile_with_its_lock(tmp_path: Path) -> None:
    lock = json.dumps({"default": {"django": {"version": "==5.2.1"}, "local": {"path": "."}}, "develop": {"ruff": {}}})
    found = packages(tmp_path, Pipfile='[packages]\ndjango = "*"\n[dev-packages]\nruff = "*"\n', Pipfile_dot_lock=lock)
    assert (found.requirements, found.constraints) == (("django",), ("django==5.2.1",))


def test_a_virtual_environment_in_place_of_a_file(tmp_path: Path) -> None:
    installed = {
        "Django": ("5.2.4", None),
        "pip": ("25.0", None),
        "mine": ("0.1", {"url": "file:///src/mine", "dir_info": {"editable": True}}),
        "forked": ("2.0", {"url": "https://h.org/f.git", "vcs_info": {"vcs": "git", "commit_id": "a1b2"}}),
        "carried": ("1.0", {"url": "https://h.org/carried-1.0.zip", "archive_info": {}}),
        "part": ("3.0", {"url": "https://h.org/p", "vcs_info": {"vcs": "git", "commit_id": "c3"}, "subdirectory": "b"}),
    }
    (tmp_path / "lib" / "python3.12" / "site-packages" / "~emoved-1.0.dist-info").mkdir(parents=True)
    for name, (version, origin) in installed.items():
        info = tmp_path / "lib" / "python3.12" / "site-packages" / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        if origin is not None:
            (info / "direct_url.json").write_text(json.dumps(origin))
    assert packages(tmp_path, pyvenv_dot_cfg="home = /usr/bin\n").requirements == (
        "Django==5.2.4",
        "carried @ https://h.org/carried-1.0.zip",
        "forked @ git+https://h.org/f.git@a1b2",
        "part @ git+https://h.org/p@c3#subdirectory=b",
    )


@pytest.mark.parametrize(
    ("poetry", "pep_440"),
    [
        ("^1.2.3", ">=1.2.3,<2"),
        ("^0.2.3", ">=0.2.3,<0.3"),
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0", ">=0,<1"),
        ("~1.2.3", ">=1.2.3,<1.3"),
        ("~1.2", ">=1.2,<1.3"),
        ("~1", ">=1,<2"),
        ("~=1.4", "~=1.4"),
        ("1.2.3", "==1.2.3"),
        ("1.2.*", "==1.2.*"),
        (">=1.2,<3", ">=1.2,<3"),
        ("*", ""),
    ],
)
def test_poetrys_constraints_as_pep_440_has_them(poetry: str, pep_440: str) -> None:
    assert specifier(poetry) == pep_440


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("requirements_dot_txt", "this is nothing\n", "requirements.txt: .* is no requirement"),
        ("pyproject_dot_toml", "[project\n", "pyproject.toml: the dependencies cannot be read"),
        ("pyproject_dot_toml", '[tool.poetry.dependencies]\na = "1 || 2"\n', "found the version '1 || 2'"),
        ("Pipfile_dot_lock", "{", "Pipfile.lock: the dependencies cannot be read"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_file(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("||", r"\|\|")):
        packages(tmp_path, **{name: text})


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.txt"):
        read_packages("mine", [tmp_path / "gone.txt"])


def test_names_are_canonical() -> None:
    assert package_name("Psycopg2_Binary>=2.9") == "psycopg2-binary"
    assert package_name("git+https://example.org/x") == ""
