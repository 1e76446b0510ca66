"""Apache with mod_wsgi: its configuration, what it wants of the machine, and the counts of a real run of it."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from runner.errors import EnvironmentUnfit
from runner.matrix.expansion import expand
from runner.matrix.reading import read_matrix
from runner.stacks.servers import mod_wsgi
from runner.stacks.servers.mod_wsgi import ModWsgiSpec
from runner.stacks.versions import Recipe
from tests.processes import ROOT
from tests.stacks.servers.launching import launch_in
from tests.test_end_to_end import run_matrix


@pytest.fixture
def apache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with Apache and its module, for Python 3.11, which is the system's; returns the module."""
    programs, modules = tmp_path / "bin", tmp_path / "modules"
    programs.mkdir()
    modules.mkdir()
    program = programs / "apache2"
    program.write_text("#!/bin/sh\necho 'Server version: Apache/2.4.99 (Debian)'\n")
    program.chmod(0o755)
    (programs / "python3.11").write_text("")
    (programs / "python3").symlink_to("python3.11")
    module = modules / "mod_wsgi.so"
    module.write_bytes(b"\x7fELF\0libpython3.11.so.1.0\0")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(mod_wsgi, "MODULES", modules)
    monkeypatch.setattr(mod_wsgi, "SYSTEM_PYTHON", programs / "python3")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return module


def test_the_parameters_and_what_they_come_to() -> None:
    spec = ModWsgiSpec(processes=2, threads=4)
    assert (spec.process_count, spec.threads_per_process, spec.context) == (2, 4, "thread")
    assert spec.title == "mod_wsgi 2 × 4"
    assert ModWsgiSpec().title == "mod_wsgi 1 × 15", "mod_wsgi's own defaults"
    assert spec.keeps_clients_alive
    assert spec.reload_signal is signal.SIGUSR1
    assert spec.packages == frozenset(), "Apache is the machine's"


def test_the_command(apache: Path, tmp_path: Path) -> None:
    command = ModWsgiSpec(processes=3, threads=5).command(launch_in(tmp_path))
    assert list(command.argv) == [str(tmp_path / "bin/apache2"), "-f", str(tmp_path / "httpd.conf"), "-DFOREGROUND"]
    assert command.env["CONNBENCH_OVERLAY"] == "{}", "the daemon's processes inherit it"
    assert command.stop_signal is signal.SIGTERM
    assert (tmp_path / "app.wsgi").read_text() == "from shop.wsgi import application as application\n"
    lines = (tmp_path / "httpd.conf").read_text().splitlines()
    assert {
        "Listen 127.0.0.1:15001",
        f'PidFile "{tmp_path}/httpd.pid"',
        f'LoadModule wsgi_module "{apache}"',
        "KeepAlive On",
        "MaxKeepAliveRequests 0",
        'LogFormat "%>s %U%q" connbench',
        'CustomLog "/logs/access.log" connbench',
        'WSGIDaemonProcess app processes=3 threads=5 listen-backlog=1024 python-home="/env" home="/project"',
        f'WSGIScriptAlias / "{tmp_path}/app.wsgi" process-group=app application-group=%{{GLOBAL}}',
    } <= set(lines)
    assert not [line for line in lines if line.startswith(("User", "Group"))], "whoever starts it runs it"


def test_under_root_it_serves_as_somebody_else(apache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    scratch = tmp_path / "scratch"
    scratch.mkdir(mode=0o700)
    ModWsgiSpec().command(launch_in(scratch))
    assert "\nUser nobody\nGroup #" in (scratch / "httpd.conf").read_text()
    assert scratch.stat().st_mode & 0o777 == 0o711, "he may go to the script, and list nothing"
    assert (scratch / "app.wsgi").stat().st_mode & 0o777 == 0o644


@pytest.mark.usefixtures("apache")
def test_what_is_installed() -> None:
    assert ModWsgiSpec.installed() == "Apache/2.4.99 (Debian)"


def test_a_missing_module_is_told_with_the_command_that_mends_it(apache: Path) -> None:
    apache.unlink()
    with pytest.raises(
        EnvironmentUnfit, match=r"mod_wsgi is not installed .*apt-get install .*libapache2-mod-wsgi-py3"
    ):
        ModWsgiSpec.installed()


def test_a_missing_apache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(EnvironmentUnfit, match=r"Apache is not installed .*apt-get install apache2-bin"):
        ModWsgiSpec.installed()


def test_a_system_python_that_the_module_is_not_for(apache: Path) -> None:
    apache.write_bytes(b"\x7fELF\0libpython3.12.so.1.0\0")
    with pytest.raises(EnvironmentUnfit, match=r"compiled for Python 3\.12, and .*/python3 is 3\.11"):
        ModWsgiSpec.installed()


@pytest.mark.usefixtures("apache")
def test_root_in_a_folder_that_only_root_may_enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    closed = tmp_path / "closed"
    (closed / "project").mkdir(parents=True)
    closed.chmod(0o700)
    monkeypatch.setattr(mod_wsgi, "OVERLAY", closed / "project")
    with pytest.raises(EnvironmentUnfit, match=r"nothing as root, and nobody.* may not enter /.*ordinary user"):
        ModWsgiSpec.installed()


def test_its_environment_is_made_with_the_systems_python() -> None:
    cells = expand(read_matrix(ROOT / "tests" / "matrices" / "mod_wsgi.yaml")).cells
    assert {cell.environment for cell in cells} == {Recipe("psycopg3", system_python=True)}
    assert cells[0].environment.name == "psycopg3+system-python"


def test_another_python_cannot_be_asked_for(tmp_path: Path) -> None:
    text = (ROOT / "tests" / "matrices" / "mod_wsgi.yaml").read_text()
    changed = tmp_path / "python.yaml"
    changed.write_text(text.replace("matrix:\n", 'matrix:\n  versions.python: ["3.12"]\n'))
    expansion = expand(read_matrix(changed))
    assert expansion.cells == ()
    reasons = {skipped.axes["database"]: skipped.reason for skipped in expansion.skipped}
    assert reasons["pg"] == "mod_wsgi is compiled for the system's own Python: python 3.12 cannot be asked for"


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Of each cell what the summary and the attempt say, by database and connection."""
    try:
        ModWsgiSpec.installed()
    except EnvironmentUnfit as error:
        pytest.skip(str(error))
    _, folder, _ = run_matrix("mod_wsgi", tmp_path_factory.mktemp("mod_wsgi"))
    cells = json.loads((folder / "summary.json").read_text())["cells"]
    found = {}
    for cell in cells:
        if cell["status"] != "skipped":
            attempt = json.loads((folder / "cells" / cell["id"] / "b1-a1" / "attempt.json").read_text())
            found[f"{cell['axes']['database']}-{cell['axes']['connection']}"] = cell, attempt
    return found


@pytest.mark.server
@pytest.mark.parametrize("name", ["pg-per-request", "pg-forever", "pg-pooled", "my-per-request", "my-forever"])
def test_it_serves_as_predicted(attempts: dict[str, tuple[dict[str, Any], dict[str, Any]]], name: str) -> None:
    cell, attempt = attempts[name]
    assert cell["status"] == "ok", cell["reason"]
    figures, agreement = cell["metrics"]["connections"], attempt["agreement"]
    assert figures["as_predicted"], figures["prediction_note"]
    assert agreement["locust"] == agreement["server_log"] > 4
    assert (agreement["unanswered"], attempt["count_errors"]) == (0, 0)
    if not name.endswith("pooled"):
        assert figures["peak"]["value"] <= 4, "processes × threads, with more clients than that"
    if name.endswith("per-request"):
        assert figures["opened_per_request"]["value"] == pytest.approx(1.0, rel=0.02)
        assert figures["lingering"]["value"] == 0
    if name.endswith("forever"):
        assert 1 <= figures["opened"]["value"] <= 4
