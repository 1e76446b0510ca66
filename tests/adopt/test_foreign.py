"""Projects that nobody here wrote, as their own packages start them: taken up, checked and measured on both databases.

Nothing is set by hand. Each comes from the package index in the version that is pinned here, into a virtual environment
in its folder, as its users would do it; docs/your-app.md names them, and what `connbench init` found for each.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.stacks.app import load_app
from tests.adopt.commands import call
from tests.processes import ROOT

#: Seconds for one step, on a busy machine and with nothing in uv's cache.
LIMIT = 1200


@dataclass(frozen=True)
class Foreign:
    """`package` starts a project with `command`, which the folder follows; `found` is in its app.yaml afterwards."""

    package: str
    command: Sequence[str]
    #: A page that the project answers, and what is on it.
    page: tuple[str, str]
    found: Sequence[str]
    python: str = "3.11"
    #: What is installed beside the package.
    beside: Sequence[str] = ()


PROJECTS = {
    "wagtail": Foreign(
        "wagtail==8.0.1",
        ["wagtail", "start", "mysite"],
        ("/", "Home"),
        ["settings: mysite.settings.dev", 'postgres: ["django.contrib.postgres"]', 'python: "3.12"'],
        python="3.12",
        beside=["django>=6.1,<6.2"],
    ),
    "spirit": Foreign(
        "django-spirit==0.14.3",
        ["spirit", "startproject", "mysite", "--path"],
        ("/", "Latest active topics - Spirit"),
        ["settings: mysite.settings.dev", 'dependencies: ["../.venv/pyvenv.cfg"]'],
    ),
    "mezzanine": Foreign(
        "mezzanine==6.1.1",
        ["mezzanine-project", "mysite"],
        ("/blog/", "Blog | Mezzanine"),
        ["settings: mysite.settings", 'dependencies: ["../.venv/pyvenv.cfg"]'],
        beside=["setuptools<81"],
    ),
}


def start(foreign: Foreign, folder: Path) -> Path:
    """The project as its own package makes it, beside the environment that the package was installed in."""
    environment = folder / ".venv"
    uv("venv", "--python", interpreter(foreign.python), str(environment))
    uv("pip", "install", "--python", str(environment / "bin" / "python"), foreign.package, *foreign.beside)
    programs = {**os.environ, "PATH": f"{environment / 'bin'}:{os.environ['PATH']}"}
    command = [str(environment / "bin" / foreign.command[0]), *foreign.command[1:], str(folder)]
    subprocess.run(command, check=True, timeout=LIMIT, capture_output=True, cwd=folder, env=programs)
    return folder


def uv(*arguments: str) -> None:
    subprocess.run([str(ROOT / "scripts" / "uv"), *arguments], check=True, timeout=LIMIT, capture_output=True)


def interpreter(version: str) -> str:
    """pyenv's own, which uv does not find by itself; else whatever uv finds."""
    pyenv = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    found = sorted(Path(pyenv).glob(f"versions/{version}*/bin/python{version}"))
    return str(found[-1]) if found else version


@pytest.mark.server
@pytest.mark.timeout(3 * LIMIT)
@pytest.mark.parametrize("name", PROJECTS)
def test_a_foreign_project_is_measured_with_nothing_set_by_hand(name: str, tmp_path: Path) -> None:
    foreign = PROJECTS[name]
    project = start(foreign, tmp_path / name)
    done = call("init", project, folder=tmp_path)
    assert done.code == 0, done.text
    matrix = project / "connbench" / "matrix.yaml"
    text = (project / "connbench" / "app.yaml").read_text()
    assert [line for line in foreign.found if line not in text] == []
    checks = {check.path: check.contains for check in load_app(str(project / "connbench")).description.checks}
    assert checks[foreign.page[0]] == foreign.page[1]
    done = call("check", "-m", matrix, folder=tmp_path)
    assert done.code == 0, done.text
    shorten(matrix)
    done = call("run", "--quick", "-m", matrix, "--out", tmp_path / "out", folder=tmp_path)
    assert done.code == 0, done.text
    summary = json.loads((tmp_path / "out" / "latest" / "summary.json").read_text())
    cells = {cell["id"]: cell for cell in summary["cells"]}
    assert sorted(cells) == [
        f"{database}-gunicorn-{connection}" for database in ("my", "pg") for connection in ("persistent", "present")
    ]
    for cell in cells.values():
        assert cell["status"] == "ok", cell["reason"]
        assert cell["metrics"]["errors"]["total"]["value"] == 0
        assert cell["metrics"]["connections"]["as_predicted"], cell["metrics"]["connections"]
    versions = summary["run"]["versions"]
    package, _, version = foreign.package.partition("==")
    assert {found for key, found in versions.items() if key.endswith(f"/{package}")} == {version}


@pytest.mark.parametrize("foreign", PROJECTS.values(), ids=PROJECTS)
def test_the_page_tells_of_each(foreign: Foreign) -> None:
    package, _, version = foreign.package.partition("==")
    name = package.removeprefix("django-").capitalize()
    command = " ".join(word for word in foreign.command if word != "mysite" and not word.startswith("-"))
    row = f"| {name} {version} (`{command}`) | nothing |"
    assert row in (ROOT / "docs" / "your-app.md").read_text()


def shorten(matrix: Path) -> None:
    """A second of load is enough to count connections."""
    text = matrix.read_text()
    assert "load: {users: 8}" in text
    matrix.write_text(
        text.replace("load: {users: 8}", "load: {users: 4, count: 1s, idle: 500ms, windows: 1, window: 300ms}")
    )
