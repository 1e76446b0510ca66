"""What a run shows to others on the machine: nothing listens beyond loopback, no secret leaves where it belongs."""

import contextlib
import ipaddress
import json
import stat
from pathlib import Path

import psutil
import pytest

from tests.processes import ROOT, Family, connbench

pytestmark = pytest.mark.server

TINY = ROOT / "tests" / "matrices" / "tiny.yaml"
LIMIT = 240


class Watch:
    """Every address that a run's processes listen on, their arguments, and the secrets in their environments."""

    def __init__(self) -> None:
        self.listening: set[str] = set()
        self.arguments: set[str] = set()
        self.secrets: set[str] = set()

    def look(self, processes: set[psutil.Process]) -> None:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                self.arguments.add(" ".join(process.cmdline()))
                sockets = process.net_connections("inet")
                self.listening |= {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}
                if overlay := process.environ().get("CONNBENCH_OVERLAY"):
                    told = json.loads(overlay)
                    self.secrets |= {told["token"], told["databases"]["default"]["PASSWORD"]}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Watch, Path, str]:
    out = tmp_path_factory.mktemp("security")
    log = out / "log"
    process = connbench(["run", "-m", str(TINY), "--out", str(out / "results")], log)
    family, watch = Family(process.pid), Watch()

    def over() -> bool:
        watch.look(family.seen)
        return process.poll() is not None

    family.watch_until(over, LIMIT)
    assert process.returncode == 0, log.read_text()
    return watch, (out / "results" / "latest").resolve(), log.read_text()


def test_everything_listens_on_loopback_alone(watched: tuple[Watch, Path, str]) -> None:
    watch, _, _ = watched
    assert watch.listening
    assert all(ipaddress.ip_address(address).is_loopback for address in watch.listening), watch.listening


def test_secrets_are_in_no_arguments_results_or_output(watched: tuple[Watch, Path, str]) -> None:
    watch, folder, printed = watched
    # A password and a token for the template and for each of the four attempts.
    assert len(watch.secrets) >= 4
    assert not [text for text in watch.arguments if any(secret in text for secret in watch.secrets)]
    assert not any(secret in printed for secret in watch.secrets)
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in watch.secrets), path


def test_results_are_for_their_owner_alone(watched: tuple[Watch, Path, str]) -> None:
    assert stat.S_IMODE(watched[1].stat().st_mode) == 0o700
