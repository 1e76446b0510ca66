"""Which packages a project asks for, in every file in which Python projects say so."""

import json
from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.stacks import origins
from runner.stacks.declared import specifier
from runner.stacks.dependencies import AppPackages, package_name, read_packages


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
        "# comment\n--index-url https://pypi.org/simple\n-r base.txt\nDjango>=5.2,<5.3  # the LTS\n-e .\n./local\n"
        "requests[socks]==2.32.3 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n"
    )
    assert packages(tmp_path, requirements_dot_txt=text).requirements == (
        "Django<5.3,>=5.2",
        "requests[socks]==2.32.3",
        'wagtail==7.0; python_version >= "3.10"',
    )


def test_what_only_binds_a_version_is_asked_for_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "bounds.txt").write_text("-r more.txt\nurllib3<2\n")
    (tmp_path / "more.txt").write_text("celery==5.4\n")
    found = packages(tmp_path, requirements_dot_txt="django\n-c bounds.txt\n")
    assert (found.requirements, found.constraints) == (("django",), ("celery==5.4", "urllib3<2"))


def test_files_that_include_each_other_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "base.txt").write_text("-r requirements.txt\n-c base.txt\ncelery\n")
    found = packages(tmp_path, requirements_dot_txt="-r base.txt\n-r ./requirements.txt\ndjango\n")
    assert found.requirements == ("celery", "django")
    assert set(found.constraints) == {"celery", "django"}


def test_addresses_in_a_requirements_file(tmp_path: Path) -> None:
    text = (
        "-e git+https://h.org/a.git@v1#egg=a\n"
        "git+ssh://git@h.org/b@main#egg=b[c]&subdirectory=d ; python_version > '3'\n"
        "--editable=e @ git+https://h.org/e\n-e folder\nf @ https://h.org/f-1.0.zip\n"
    )
    assert packages(tmp_path, requirements_dot_txt=text).requirements == (
        "a @ git+https://h.org/a.git@v1",
        'b[c] @ git+ssh://git@h.org/b@main#subdirectory=d ; python_version > "3"',
        "e @ git+https://h.org/e",
        "f @ https://h.org/f-1.0.zip",
    )


def test_pyproject_of_pep_621_with_the_lock_of_uv(tmp_path: Path) -> None:
    lock = (
        '[[package]]\nname = "django"\nversion = "5.2.4"\nsource = { registry = "https://pypi.org/simple" }\n'
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


def test_poetrys_addresses_and_markers(tmp_path: Path) -> None:
    project = """
[tool.poetry.dependencies]
by-tag = {git = "https://h.org/t.git", tag = "v1"}
by-branch = {git = "git@h.org:team/b.git", branch = "next", subdirectory = "python", extras = ["x"]}
by-rev = {git = "https://h.org/r", rev = "a1b2"}
by-url = {url = "https://h.org/u-1.0.tar.gz"}
either = {version = "1", python = "3.9.* || >3.10"}
numpy = [{version = "1.26", python = "<3.12"}, {version = "^2.0", python = "^3.12", platform = "linux"}]
"""
    assert packages(tmp_path, pyproject_dot_toml=project).requirements == (
        "by-branch[x] @ git+ssh://git@h.org/team/b.git@next#subdirectory=python",
        "by-rev @ git+https://h.org/r@a1b2",
        "by-tag @ git+https://h.org/t.git@v1",
        "by-url @ https://h.org/u-1.0.tar.gz",
        'either==1; python_full_version == "3.9.*" or python_full_version > "3.10"',
        'numpy<3,>=2.0; (python_full_version < "4" and python_full_version >= "3.12") and sys_platform == "linux"',
        'numpy==1.26; python_full_version < "3.12"',
    )


def test_poetrys_addresses_are_taken_at_what_was_locked(tmp_path: Path) -> None:
    project = '[tool.poetry.dependencies]\nforked = {git = "https://h.org/f.git", branch = "main"}\nbeside = "*"\n'
    lock = """
[[package]]
name = "forked"
version = "2.0"
[package.source]
type = "git"
url = "https://h.org/f.git"
reference = "main"
resolved_reference = "a1b2c3"
[[package]]
name = "beside"
version = "1.0"
[package.source]
type = "directory"
url = "../beside"
"""
    found = packages(tmp_path, pyproject_dot_toml=project, poetry_dot_lock=lock)
    assert found.requirements == ("beside", "forked @ git+https://h.org/f.git@a1b2c3")
    assert found.constraints == (), "neither a version that no index has, nor one of this disk"


def test_uvs_sources_are_taken_at_what_was_locked(tmp_path: Path) -> None:
    project = """
[project]
name = "mine"
dependencies = ["Forked_One>=2", "member", "plain", "chosen"]
[tool.uv.sources]
forked-one = {git = "https://h.org/f", tag = "v2", subdirectory = "python"}
member = {workspace = true}
chosen = [{url = "https://h.org/other.zip", marker = "sys_platform == 'nowhere'"}, {url = "https://h.org/c.zip"}]
"""
    lock = """
[[package]]
name = "forked-one"
version = "2.0"
source = {git = "https://h.org/f?subdirectory=python&rev=v2#a1b2c3"}
"""
    others = ("chosen @ https://h.org/c.zip", "plain")
    wanted = packages(tmp_path, pyproject_dot_toml=project).requirements
    assert wanted == ("Forked_One @ git+https://h.org/f@v2#subdirectory=python", *others)
    locked = packages(tmp_path, pyproject_dot_toml=project, uv_dot_lock=lock)
    assert locked.requirements == ("Forked_One @ git+https://h.org/f@a1b2c3#subdirectory=python", *others)
    assert locked.constraints == ()


def test_pipfiles_addresses_and_markers(tmp_path: Path) -> None:
    project = (
        '[[source]]\nname = "pypi"\nurl = "https://pypi.org/simple"\n[packages]\n'
        'forked = {git = "https://h.org/f.git", ref = "v1", editable = true}\n'
        'beside = {path = ".", editable = true}\ndjango = {version = "*", index = "pypi", os_name = "!= \'nt\'"}\n'
    )
    assert packages(tmp_path, Pipfile=project).requirements == (
        'django; os_name != "nt"',
        "forked @ git+https://h.org/f.git@v1",
    )
    lock = {"default": {"forked": {"git": "https://h.org/f.git", "ref": "a1b2"}, "django": {"version": "==5.2.1"}}}
    found = packages(tmp_path, Pipfile=project, Pipfile_dot_lock=json.dumps(lock))
    assert found.requirements[1] == "forked @ git+https://h.org/f.git@a1b2"
    assert found.constraints == ("django==5.2.1",)


OTHER = "https://token@Packages.example.org/simple/"
PRIVATE: dict[str, str] = {
    "requirements_dot_txt": f"--extra-index-url {OTHER}\nacme-auth\n",
    "prod_dot_txt": f"-i={OTHER}\nacme-auth\n",
    "pyproject_dot_toml": f"""
[[tool.poetry.source]]
name = "acme"
url = "{OTHER}"
[tool.poetry.dependencies]
acme-auth = "*"
""",
    "explicit_slash_pyproject_dot_toml": f"""
[[tool.poetry.source]]
name = "acme"
url = "{OTHER}"
priority = "explicit"
[tool.poetry.dependencies]
acme-auth = {{version = "*", source = "acme"}}
""",
    "uv_slash_pyproject_dot_toml": f"""
[project]
name = "mine"
dependencies = ["acme-auth"]
[[tool.uv.index]]
name = "acme"
url = "{OTHER}"
""",
    "named_slash_pyproject_dot_toml": f"""
[project]
name = "mine"
dependencies = ["acme-auth"]
[[tool.uv.index]]
name = "acme"
url = "{OTHER}"
explicit = true
[tool.uv.sources]
acme-auth = {{index = "acme"}}
""",
    "pdm_slash_pyproject_dot_toml": f"""
[project]
name = "mine"
dependencies = ["acme-auth"]
[[tool.pdm.source]]
name = "acme"
url = "{OTHER}"
""",
    "Pipfile": f"""
[[source]]
name = "acme"
url = "{OTHER}"
[packages]
acme-auth = "*"
""",
    "uv_dot_lock": f"""
[[package]]
name = "acme-auth"
version = "1"
source = {{registry = "{OTHER}"}}
""",
    "poetry_dot_lock": f"""
[[package]]
name = "acme-auth"
version = "1"
[package.source]
type = "legacy"
url = "{OTHER}"
reference = "acme"
""",
    "Pipfile_dot_lock": json.dumps(
        {
            "_meta": {"sources": [{"name": "acme", "url": OTHER}]},
            "default": {"acme-auth": {"version": "==1", "index": "acme"}},
        }
    ),
}


@pytest.mark.parametrize("name", PRIVATE)
def test_an_index_that_is_not_asked_is_refused_until_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Its packages are not taken from another one, and its secrets are nobody's to read."""
    asked = ["https://mirror.example.org/simple"]
    monkeypatch.setattr(origins, "package_indexes", lambda: asked)
    words = r"come from packages\.example\.org/simple, which is not asked here.*UV_INDEX=ADDRESS.*--dependencies FILE"
    with pytest.raises(UsageError, match=words) as refusal:
        packages(tmp_path, **{name: PRIVATE[name]})
    assert "token" not in str(refusal.value)
    asked.append("https://packages.example.org/simple")
    found = packages(tmp_path, **{name: PRIVATE[name]})
    assert {package_name(one) for one in (*found.requirements, *found.constraints)} == {"acme-auth"}


def test_the_indexes_that_are_asked_are_uvs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_INDEX", "acme=https://packages.example.org/simple")
    assert "https://packages.example.org/simple" in origins.package_indexes()


def test_an_index_that_no_package_names_is_not_in_the_way(tmp_path: Path) -> None:
    text = (
        f'[[tool.poetry.source]]\nname = "acme"\nurl = "{OTHER}"\npriority = "explicit"\n'
        '[[tool.poetry.source]]\nname = "PyPI"\npriority = "primary"\n[tool.poetry.dependencies]\ndjango = "*"\n'
    )
    assert packages(tmp_path, pyproject_dot_toml=text).requirements == ("django",)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", '[project]\ndependencies = ["acme"]\n[tool.uv.sources]\nacme = {index = "internal"}\n'),
        ("pyproject.toml", '[tool.poetry.dependencies]\nacme = {version = "*", source = "internal"}\n'),
        ("Pipfile", '[packages]\nacme = {version = "*", index = "internal"}\n'),
    ],
)
def test_an_index_that_is_declared_elsewhere_is_not_taken_for_the_public_one(
    tmp_path: Path, name: str, text: str
) -> None:
    with pytest.raises(UsageError, match=r"the index 'internal', of which nothing says where it is.*--dependencies"):
        packages(tmp_path, **{name: text})


def test_poetrys_table_says_where_the_packages_of_a_project_are(tmp_path: Path) -> None:
    """https://python-poetry.org/docs/pyproject/#dependencies: it only adds to `[project]`."""
    text = """
[project]
name = "mine"
dependencies = ["Acme_Internal[x]>=2", "django>=5.2", "forked"]
[tool.poetry.dependencies]
acme-internal = {path = "../acme", develop = true}
forked = {git = "https://h.org/f.git", tag = "v1"}
django = {version = "<6", source = "PyPI"}
"""
    assert packages(tmp_path, pyproject_dot_toml=text).requirements == (
        "django<6",
        "django>=5.2",
        "forked",
        "forked @ git+https://h.org/f.git@v1",
    )


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
        (">= 1.2 < 3", ">= 1.2,< 3"),
        ("*", ""),
    ],
)
def test_poetrys_constraints_as_pep_440_has_them(poetry: str, pep_440: str) -> None:
    assert specifier(poetry) == pep_440


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("requirements.txt", "{}\n"),
        ("requirements.txt", "acme @ {} ; python_version > '3'\n"),
        ("pyproject.toml", '[tool.poetry.dependencies]\nacme = {{path = "{}"}}\n'),
        ("pyproject.toml", '[project]\ndependencies = ["acme"]\n[tool.uv.sources]\nacme = {{path = "{}"}}\n'),
        ("Pipfile", '[packages]\nacme = {{file = "{}"}}\n'),
    ],
)
@pytest.mark.parametrize(
    "archive", ["./vendor/acme-1.0-py3-none-any.whl", "vendor/acme-1.0.tar.gz", "/srv/acme-1.0.zip"]
)
def test_a_packages_file_on_this_disk_is_not_just_there(tmp_path: Path, name: str, text: str, archive: str) -> None:
    with pytest.raises(UsageError, match=r"acme-1\.0.*is a package's file on this disk, which is not installed here"):
        packages(tmp_path, **{name: text.format(archive)})


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("requirements_dot_txt", "this is nothing\n", "requirements.txt: .* is no requirement"),
        ("requirements_dot_txt", "git+https://h.org/x@v1\n", "write `NAME @ git"),
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
