"""What the machine has and lacks, on machines of every kind."""

import io
import platform
import resource
import subprocess
from types import SimpleNamespace
from typing import Any

import docker
import pytest
from docker.errors import DockerException
from rich.console import Console

from runner import doctor
from runner.errors import EnvironmentUnfit
from runner.stacks.databases import DATABASES
from runner.stacks.poolers import POOLERS
from runner.stacks.servers.mod_wsgi import ModWsgiSpec


class Machine:
    """Complete, until a test takes something away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lacking: dict[str, str] = {}
        self.packages = subprocess.CompletedProcess[str]([], 0, "", "")
        self.open_files = 4096
        self.docker = True
        self.asked: list[str] = []
        self.os_release: dict[str, str] | None = {"PRETTY_NAME": "Debian [12]"}
        for engine in DATABASES:
            monkeypatch.setattr(DATABASES[engine], "installed", lambda engine=engine: self._installed(engine))
        for kind in POOLERS:
            monkeypatch.setattr(POOLERS[kind], "installed", lambda kind=kind: self._installed(kind))
        monkeypatch.setattr(ModWsgiSpec, "installed", lambda: self._installed("mod_wsgi"))
        self.proxysql: str | None = None
        monkeypatch.setattr(doctor, "find_proxysql", lambda: self.proxysql)
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: self.packages)
        monkeypatch.setattr(resource, "getrlimit", lambda _: (self.open_files, resource.RLIM_INFINITY))
        monkeypatch.setattr(docker, "from_env", self._docker)
        monkeypatch.setattr(platform, "freedesktop_os_release", self._os_release)

    def _installed(self, engine: str) -> str:
        self.asked.append(engine)
        if engine in self.lacking:
            raise EnvironmentUnfit(self.lacking[engine])
        return f"{engine} 1.0"

    def _docker(self, **_: object) -> Any:
        if not self.docker:
            raise DockerException("nobody answers")
        return SimpleNamespace(version=lambda: {"Version": "27.0"}, close=lambda: None)

    def _os_release(self) -> dict[str, str]:
        if self.os_release is None:
            raise OSError("no os-release")
        return self.os_release


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def examine() -> tuple[int, str]:
    screen = Console(file=io.StringIO(), width=200)
    code = doctor.examine(screen)
    assert isinstance(screen.file, io.StringIO)
    return code, screen.file.getvalue()


def test_a_complete_machine(machine: Machine) -> None:
    code, text = examine()
    assert code == 0
    assert text.count("✓") == 8
    assert "pgbouncer pooler: pgbouncer 1.0" in text
    assert "mod_wsgi server: mod_wsgi 1.0" in text
    assert "– proxysql pooler: not installed; its cells are skipped\n" in text
    assert text.count("to mend it") == 1, "ProxySQL is nothing to want"
    assert "postgres server: postgres 1.0" in text
    assert "mysql server: mysql 1.0" in text
    assert "complete (Debian [12])" in text
    assert "Docker: engine 27.0" in text


def test_a_missing_database_server_is_told_with_the_command_that_mends_it(machine: Machine) -> None:
    machine.lacking["mysql"] = "neither mysqld nor mariadbd is on the PATH [looked in /usr/sbin]"
    machine.docker = False
    code, text = examine()
    assert code == 3
    assert "✗ mysql server: neither mysqld nor mariadbd is on the PATH [looked in /usr/sbin]\n" in text
    assert "to mend it: make setup PROVIDER=native" in text
    assert "✓ postgres server" in text, "the rest is looked at all the same"


def test_poolers_are_not_needed(machine: Machine) -> None:
    machine.lacking["pgbouncer"] = "PgBouncer is not installed"
    machine.proxysql = "/usr/bin/proxysql"
    code, text = examine()
    assert code == 0
    assert "– pgbouncer pooler: PgBouncer is not installed\n    to mend it: make setup PROVIDER=native" in text
    assert "✓ proxysql pooler: /usr/bin/proxysql; connbench does not drive it yet" in text
    doctor.require_programs({"postgres"}, set())
    with pytest.raises(EnvironmentUnfit, match="PgBouncer is not installed"):
        doctor.require_programs({"postgres"}, {"pgbouncer"})


def test_an_application_server_of_the_machines_own_is_needed_by_its_cells_alone(machine: Machine) -> None:
    machine.lacking["mod_wsgi"] = "Apache is not installed"
    code, text = examine()
    assert code == 0
    assert "– mod_wsgi server: Apache is not installed\n    to mend it: make setup PROVIDER=native" in text
    doctor.require_programs({"postgres"}, servers={"gunicorn"})
    with pytest.raises(EnvironmentUnfit, match="Apache is not installed"):
        doctor.require_programs({"postgres"}, servers={"gunicorn", "mod_wsgi"})


def test_servers_are_not_needed_where_docker_has_them(machine: Machine) -> None:
    machine.lacking["mysql"] = "not here"
    machine.packages = subprocess.CompletedProcess([], 3, "", "missing: libmariadb-dev\n")
    code, text = examine()
    assert code == 0
    assert "– mysql server: not here\n    to mend it: make setup PROVIDER=native" in text
    assert "– system packages: missing: libmariadb-dev" in text


def test_missing_packages(machine: Machine) -> None:
    machine.docker = False
    machine.packages = subprocess.CompletedProcess([], 3, "", "missing: libmariadb-dev\n")
    code, text = examine()
    assert code == 3
    assert "✗ system packages: missing: libmariadb-dev\n    to mend it: scripts/system-packages" in text


def test_too_few_open_files(machine: Machine) -> None:
    machine.open_files = 1024
    code, text = examine()
    assert code == 3
    assert "✗ open files: 1024 per process" in text
    assert "ulimit -n 4096" in text


def test_docker_is_not_needed(machine: Machine) -> None:
    machine.docker = False
    code, text = examine()
    assert code == 0
    assert "– Docker: " in text
    assert "everything runs natively" in text


def test_a_machine_that_does_not_say_what_it_is(machine: Machine) -> None:
    machine.os_release = None
    assert examine()[0] == 0


def test_only_the_engines_of_the_plan_are_required(machine: Machine) -> None:
    machine.lacking["mysql"] = "not here"
    doctor.require_programs({"postgres"})
    assert machine.asked == ["postgres"]
    with pytest.raises(EnvironmentUnfit, match="not here"):
        doctor.require_programs({"postgres", "mysql"})
