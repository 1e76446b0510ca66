"""Versions of packages as part of a cell: how they are written, what they make of an environment."""

import pytest
from pydantic import ValidationError

from runner.matrix.expansion import expand
from runner.stacks.versions import DEVELOPED, Recipe, VersionsSpec, is_version, override, parse_source, recipe
from tests.matrix.examples import make_matrix


def test_a_recipe_is_named_after_what_differs() -> None:
    assert recipe("psycopg3", {}).name == "psycopg3"
    made = recipe("psycopg3", {"python": "3.12", "django": "6.1"})
    assert made.name == "psycopg3+django-6.1+python-3.12"
    assert made == Recipe("psycopg3", (("django", "6.1"), ("python", "3.12"))), "in whatever order it was written"
    assert made.packages == (("django", "6.1"),), "an interpreter is no package"


@pytest.mark.parametrize(
    ("version", "requirement"), [("5.2", "django==5.2.*"), ("5.2.3", "django==5.2.3"), ("6.1rc1", "django==6.1rc1")]
)
def test_a_short_version_stands_for_its_newest_release(version: str, requirement: str) -> None:
    assert override("django", version) == requirement


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"django": 5.1}, "in quotes"),
        ({"django": "latest"}, 'allowed: a version such as "5.2"'),
        ({"django": "5.2; import os"}, "allowed: a version"),
        ({"psycopg": "main"}, "psycopg: found 'main', which is known of django, .* alone: write git"),
        ({"Django>=": "5.2"}, "a package's name in lower case"),
    ],
)
def test_what_is_no_version_is_refused(written: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        VersionsSpec.model_validate(written, strict=True)


def test_the_systems_own_interpreter_makes_another_environment() -> None:
    made = recipe("psycopg3", {"django": "5.2"}, system_python=True)
    assert made.name == "psycopg3+system-python+django-5.2"
    assert made != recipe("psycopg3", {"django": "5.2"})


def test_main_is_the_branch_on_which_a_package_is_developed() -> None:
    assert VersionsSpec.model_validate({"django": "main"}).by_package == {"django": DEVELOPED["django"]}
    matrix = make_matrix({"database": ["pg"], "server": ["sync"], "django": ["5.2", "main"]})
    cells = {cell.id: cell.versions["django"] for cell in expand(matrix).cells if cell.connection_name == "forever"}
    assert cells == {"pg-sync-forever-django-5-2": "5.2", "pg-sync-forever-django-main": DEVELOPED["django"]}


@pytest.mark.parametrize("reference", DEVELOPED.values())
def test_every_such_branch_is_a_git_reference(reference: str) -> None:
    assert is_version(reference)
    assert parse_source(reference) is not None
