"""The commands of README's second section and of docs/your-app.md, few and the same."""

import re

from tests.processes import ROOT

README, PAGE = ROOT / "README.md", ROOT / "docs" / "your-app.md"
MOST_COMMANDS = 5
#: Before anything else, and done wherever this test runs.
SETUP = "make setup"


def commands(text: str) -> list[str]:
    """The lines of code blocks, comments aside."""
    found = re.findall(rf"^    (connbench .*|{SETUP} .*)$", text, re.MULTILINE)
    return [line.partition("  #")[0].strip() for line in found]


def section() -> str:
    """README's second."""
    return README.read_text().split("\n## ")[2]


def test_the_second_section_is_the_users_own_app_in_few_commands() -> None:
    text = section()
    assert text.startswith("Your own app\n")
    assert 1 <= len(commands(text)) <= MOST_COMMANDS


def test_the_page_and_the_readme_begin_alike() -> None:
    first, *others = commands(section())
    assert first == SETUP
    assert commands(PAGE.read_text())[: len(others)] == others
