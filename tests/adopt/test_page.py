"""The commands of README's second section and of docs/your-app.md, run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adopt.projects import make_project
from tests.processes import ROOT

README, PAGE = ROOT / "README.md", ROOT / "docs" / "your-app.md"
MOST_COMMANDS = 5
#: Before anything else, and done wherever this test runs.
SETUP = "make setup PROVIDER=native"


def commands(text: str) -> list[str]:
    """The lines of code blocks, comments aside."""
    found = re.findall(rf"^    (connbench .*|{SETUP} .*)$", text, re.MULTILINE)
    return [line.partition("  #")[0].strip() for line in found]


def section() -> str:
    """README's second."""
    return README.read_text().split("\n## ")[2]


def run(command: str, home: Path) -> None:
    """In a shell whose home is `home`; caches stay where they are."""
    real = Path.home()
    env = {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(real / ".cache" / "uv")),
        "PYENV_ROOT": os.environ.get("PYENV_ROOT", str(real / ".pyenv")),
    }
    done = subprocess.run(
        ["bash", "-c", command], cwd=home, env=env, capture_output=True, text=True, timeout=1200, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_the_second_section_is_the_users_own_app_in_few_commands() -> None:
    text = section()
    assert text.startswith("Your own app\n")
    assert 1 <= len(commands(text)) <= MOST_COMMANDS


def test_the_page_and_the_readme_begin_alike() -> None:
    first, *others = commands(section())
    assert first == SETUP
    assert commands(PAGE.read_text())[: len(others)] == others


@pytest.mark.server
@pytest.mark.timeout(3000)
def test_every_command_runs_as_it_stands(tmp_path: Path) -> None:
    make_project(tmp_path / "src" / "mysite")
    (tmp_path / "access.log").write_text(
        '192.0.2.1 - - [10/Oct/2025:13:55:36 +0000] "GET /users/17/ HTTP/1.1" 200 2326 "-" "Mozilla"\n'
        '192.0.2.1 - - [10/Oct/2025:13:55:37 +0000] "GET / HTTP/1.1" 200 2326 "-" "Mozilla"\n'
    )
    for command in commands(PAGE.read_text()):
        run(command, tmp_path)
    assert (tmp_path / "results" / "latest" / "report.html").exists()
    assert "/users/[id]/" in (tmp_path / "src" / "mysite" / "connbench" / "traffic.py").read_text()
