"""What every test has: a state folder of this session's own, so that no other run is in its way."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = os.environ.get("CONNBENCH_STATE")
    folder = tmp_path_factory.mktemp("state")
    folder.chmod(0o700)
    os.environ["CONNBENCH_STATE"] = str(folder)
    yield
    if before is None:
        del os.environ["CONNBENCH_STATE"]
    else:
        os.environ["CONNBENCH_STATE"] = before
