"""The machine and the versions in a run's record."""

import re
from pathlib import Path

import psutil
import pytest

from runner import host
from runner.host import describe_host, describe_versions
from runner.stacks.environment import AppEnvironment
from runner.stacks.versions import Recipe


def test_the_machine() -> None:
    found = describe_host()
    assert found.cores == psutil.cpu_count()
    assert found.memory_bytes == psutil.virtual_memory().total
    assert found.cpu
    assert found.kernel == Path("/proc/sys/kernel/osrelease").read_text().strip()
    assert re.fullmatch("[0-9a-f]{16}", found.fingerprint)


def test_the_fingerprint_is_this_machines_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    first = describe_host().fingerprint
    assert describe_host().fingerprint == first
    for name, value in (("_cpu_model", "Another CPU"), ("_machine_id", "0" * 32)):
        with monkeypatch.context() as changed:
            changed.setattr(host, name, lambda value=value: value)
            assert describe_host().fingerprint != first


def test_nothing_in_it_names_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_machine_id", lambda: "c0ffee" * 5)
    assert "c0ffee" not in describe_host().model_dump_json()


def test_versions_of_the_runner_and_of_each_environment(tmp_path: Path) -> None:
    package = tmp_path / "lib" / "python3.11" / "site-packages" / "Django-5.2.8.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: Django\nVersion: 5.2.8\n")
    recipe = Recipe("psycopg3")
    versions = describe_versions({recipe: AppEnvironment(recipe, tmp_path)})
    assert versions["psycopg3/django"] == "5.2.8"
    assert [name for name in versions if "/" in name] == ["psycopg3/django"]
    for name in ("python", "connbench", "locust", "gevent", "psycopg"):
        assert re.match(r"\d+\.\d+", versions[name]), name
