"""The released versions of a package: read from an index as pip and uv read it, with what is left out and why."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import EnvironmentUnfit, UsageError
from runner.stacks.releases import Release, newest_like, releases
from tests.indexes import FakeRelease, serving

PYTHON = "3.11.7"
RELEASES = [
    FakeRelease("1.10"),
    FakeRelease("1.9"),
    FakeRelease("1.9.1", requires_python=">=3.99"),
    FakeRelease("1.9.2", yanked="it ate files"),
    FakeRelease("1.9.3", yanked=""),
    FakeRelease("1.9.4", tag="cp27-cp27m-manylinux1_x86_64"),
    FakeRelease("1.11rc1"),
    FakeRelease("2.0.0", requires_python=">=3.8"),
]
FOUND = [
    Release("1.9"),
    Release("1.9.1", "needs Python >=3.99, not 3.11.7", installable=False),
    Release("1.9.2", "yanked: it ate files"),
    Release("1.9.3", "yanked"),
    Release("1.9.4", "has neither source nor a wheel for Python 3.11.7 on this machine", installable=False),
    Release("1.10"),
    Release("1.11rc1", "a pre-release"),
    Release("2.0.0"),
]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serving(tmp_path, "some-package", RELEASES) as url:
        monkeypatch.setenv("UV_DEFAULT_INDEX", url)
        monkeypatch.setenv("UV_INDEX", "")
        monkeypatch.setenv("UV_EXTRA_INDEX_URL", "")
        yield url


@pytest.mark.usefixtures("index")
def test_each_version_is_listed_in_order_with_why_it_is_left_out() -> None:
    assert releases("some-package", PYTHON) == FOUND


def test_a_second_index_adds_its_own(index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path / "more", "some-package", [FakeRelease("3.0")]) as more:
        monkeypatch.setenv("UV_INDEX", f"mine={more}")
        assert index != more
        assert releases("some-package", PYTHON) == [*FOUND, Release("3.0")]


@pytest.mark.usefixtures("index")
def test_a_package_that_is_not_there_is_the_user_s_mistake() -> None:
    with pytest.raises(UsageError, match="no-such: the package index has no such package"):
        releases("no-such", PYTHON)


def test_an_index_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:1/simple")
    with pytest.raises(EnvironmentUnfit, match=r"the package index http://127\.0\.0\.1:1/simple cannot be read"):
        releases("some-package", PYTHON)


@pytest.mark.parametrize(
    ("asked", "version"),
    [
        ("1", "1.10"),
        ("1.9", "1.9"),
        ("1.9.2", "1.9.2"),
        ("1.11rc1", "1.11rc1"),
        ("2.0", "2.0.0"),
        ("1.11", None),
        ("3", None),
    ],
)
def test_a_short_version_is_the_newest_that_is_not_left_out(asked: str, version: str | None) -> None:
    found = newest_like(FOUND, asked)
    assert (found.version if found else None) == version
