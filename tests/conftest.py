"""What every test has: its session's own state folder, no Docker, and a place in an order in which two run at once."""

import fcntl
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

#: What the workers of `pytest -n 2` have in common: a file to lock.
TURN = "turn"


def pytest_configure() -> None:
    """A script's background commands have SIGINT ignored, and so would all have that tests start and stop with it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """pytest-xdist is about to start a worker."""
    folder: Path = node.config._tmp_path_factory.getbasetemp()
    node.workerinput[TURN] = str(folder / TURN)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones first, short ones to fill up with, and at the end those beside which nothing else may run."""
    items.sort(key=lambda item: (_marked(item, "alone"), not _marked(item, "server")))


def _marked(item: pytest.Item, mark: str) -> bool:
    return item.get_closest_marker(mark) is not None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Around all of a test, its fixtures included; what is waited for a turn is not of its time limit."""
    worker: dict[str, str] | None = getattr(item.config, "workerinput", None)
    if worker is None:
        return (yield)
    with Path(worker[TURN]).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if _marked(item, "alone") else fcntl.LOCK_SH)
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("state")
    folder.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONNBENCH_STATE", str(folder))
        # Whatever engine the machine has: those tests that want one ask for it.
        patch.setenv("DOCKER_HOST", f"unix://{folder}/no-engine.sock")
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """What tests write in this process has to outlive no power failure; on a busy disk each of hundreds waits seconds.

    The runs that tests start as processes of their own write as ever.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
