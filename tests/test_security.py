"""What a run shows to others on the machine: nothing listens beyond loopback, no secret leaves where it belongs."""

import contextlib
import ipaddress
import json
import re
import stat
from pathlib import Path

import psutil
import pytest

from runner.stacks.app import MASK
from tests.processes import ROOT, Family, connbench

pytestmark = pytest.mark.server

GUARDED = ROOT / "tests" / "matrices" / "guarded.yaml"
OVERLAY = "CONNBENCH_OVERLAY"
LIMIT = 500


class Watch:
    """Every address that a run's processes listen on, their arguments, and the secrets in their environments."""

    def __init__(self) -> None:
        self.listening: set[str] = set()
        self.arguments: set[str] = set()
        self.secrets: set[str] = set()
        #: The environment of each process of an app, by the database that it has.
        self.environments: dict[str, dict[str, str]] = {}

    def look(self, processes: set[psutil.Process]) -> None:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                self.arguments.add(" ".join(process.cmdline()))
                sockets = process.net_connections("inet")
                self.listening |= {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}
                environment = process.environ()
                if overlay := environment.get(OVERLAY):
                    told, database = json.loads(overlay), json.loads(overlay)["databases"]["default"]
                    self.secrets |= {told["token"], database["PASSWORD"]}
                    if "gunicorn" in " ".join(process.cmdline()):
                        self.environments[database["NAME"]] = environment


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Watch, Path, str]:
    out = tmp_path_factory.mktemp("security")
    log = out / "log"
    process = connbench(["run", "-m", str(GUARDED), "--out", str(out / "results")], log)
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
    # A password and a token for each of the three attempts; the templates' processes live for moments alone.
    assert len(watch.secrets) >= 6
    assert not [text for text in watch.arguments if any(secret in text for secret in watch.secrets)]
    assert not any(secret in printed for secret in watch.secrets)
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in watch.secrets), path


def test_the_apps_environment_is_written_down_with_its_secrets_masked(watched: tuple[Watch, Path, str]) -> None:
    watch, folder, _ = watched
    records = [json.loads(path.read_text()) for path in folder.glob("cells/*/b1-a1/attempt.json")]
    assert len(records) == 3
    for record in records:
        noted = record["app_environment"]
        told = json.loads(noted[OVERLAY])
        assert (told["token"], told["databases"]["default"]["PASSWORD"]) == (MASK, MASK)
        assert told["databases"] == record["django_databases"]
        # As it was, but for the masks.
        real = watch.environments[told["databases"]["default"]["NAME"]]
        hidden = re.compile("|".join(map(re.escape, watch.secrets)))
        assert noted == {name: hidden.sub(MASK, value) for name, value in real.items()}


def test_results_are_for_their_owner_alone(watched: tuple[Watch, Path, str]) -> None:
    assert stat.S_IMODE(watched[1].stat().st_mode) == 0o700
