"""The set-up: its scripts run for real, in a copy, with stand-ins for whatever would install something."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))

# What the scripts may count on: a shell and the programs of any Linux.
BASICS = (
    *(
        "bash",
        "cat",
        "chmod",
        "cmp",
        "cp",
        "cut",
        "diff",
        "dirname",
        "env",
        "flock",
        "grep",
        "head",
        "ln",
        "mkdir",
    ),
    *("mktemp", "mv", "readlink", "rm", "sed", "sha256sum", "sort", "tail", "touch", "tr"),
)

# Answers as uv does as far as the set-up looks, and writes down what it was asked for.
FAKE_UV = """#!/usr/bin/env bash
[ "$1" = --version ] && echo "uv ${FAKE_UV_VERSION:-0.13.9}" && exit
[ "$1" = environment ] && exec env
echo "$*" >>"$UV_CALLS"
case "$*" in
*FAILING*) exit 1 ;;
venv*) mkdir -p .venv/bin && ln -s "$PYTHON_FOR_TESTS" .venv/bin/python ;;
'pip install'*) touch .venv/bin/connbench && chmod +x .venv/bin/connbench ;;
esac
"""


def load(name: str) -> ModuleType:
    """A script as a module."""
    loader = SourceFileLoader(re.sub(r"\W", "_", name), str(ROOT / "scripts" / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def write_program(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)  # never through a link into the machine's own
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


class Checkout:
    """A copy of the set-up's files, and a PATH on which nothing real can be installed."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        self.bin = folder / "bin"
        self.calls = folder / "uv-calls"
        self.python = Path(os.path.realpath(sys.executable))
        self.bin.mkdir()
        self.root.mkdir()
        for name in ("scripts", "requirements"):
            shutil.copytree(ROOT / name, self.root / name)
        for name in ("pyproject.toml", "Makefile"):
            shutil.copy(ROOT / name, self.root / name)
        for name in BASICS:
            self.link(name, shutil.which(name))

    def link(self, name: str, target: str | Path | None) -> None:
        assert target is not None, name
        (self.bin / name).symlink_to(target)

    def program(self, name: str, text: str) -> None:
        write_program(self.bin / name, text)

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {
            "PATH": str(self.bin),
            "HOME": str(self.root.parent),
            "UV_CALLS": str(self.calls),
            "PYTHON_FOR_TESTS": str(self.python),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            **variables,
        }
        return subprocess.run(command, cwd=self.root, env=env, capture_output=True, text=True, check=False)

    def uv_calls(self) -> list[str]:
        """What uv was asked for since the last time: `venv`, `pip sync runner.txt`, `pip install`."""
        lines = self.calls.read_text(encoding="utf-8").splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return [
            " ".join([*re.findall(r"^(?:venv|pip \w+)", line), *re.findall(r"(\w+\.txt)$", line)]) for line in lines
        ]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture
def ready(checkout: Checkout) -> Checkout:
    """Nothing of the system is missing, Python is on the PATH, uv is a stand-in."""
    write_program(checkout.root / "scripts/system-packages", "#!/bin/sh\necho looked for: ${1:-}\n")
    checkout.link("python3", checkout.python)
    checkout.program("uv", FAKE_UV)
    return checkout


# --- scripts/setup


def test_only_what_changed_is_done_again(ready: Checkout) -> None:
    def set_up(*arguments: str) -> list[str]:
        result = ready.run("scripts/setup", *arguments)
        assert result.returncode == 0, result.stderr
        return ready.uv_calls()

    assert set_up() == ["venv", "pip sync runner.txt", "pip install"]
    assert set_up() == []
    with (ready.root / "pyproject.toml").open("a") as file:
        file.write("\n")
    assert set_up() == ["pip install"]
    with (ready.root / "requirements/runner.txt").open("a") as file:
        file.write("\n")
    assert set_up() == ["pip sync runner.txt", "pip install"]
    assert set_up("--dev") == ["pip sync dev.txt", "pip install"]
    assert set_up() == [], "the developer's packages contain the runner's, and stay"
    shutil.rmtree(ready.root / ".venv")
    assert set_up() == ["venv", "pip sync runner.txt", "pip install"]
    (ready.root / ".venv/bin/python").unlink()
    assert set_up() == ["venv", "pip sync runner.txt", "pip install"], "its interpreter was uninstalled"


# Nothing that is missing is ever installed by this one.
LACKING = """#!/bin/sh
echo "looked for: $*"
case $* in *--check*) exit 3 ;; esac
"""


class TestContainers:
    """A machine without servers or a compiler."""

    @pytest.fixture
    def lacking(self, ready: Checkout) -> Checkout:
        write_program(ready.root / "scripts/system-packages", LACKING)
        ready.link("timeout", shutil.which("timeout"))
        ready.program("docker", '#!/bin/sh\n[ "$1" = version ]\n')
        return ready

    def test_an_engine_that_answers_takes_the_place_of_servers(self, lacking: Checkout) -> None:
        result = lacking.run("scripts/setup")
        assert result.returncode == 0, result.stderr
        assert lacking.uv_calls() == ["venv", "pip sync containers.txt", "pip install"]
        assert "looked for: --containers" in result.stderr
        lacking.run("scripts/setup")
        assert lacking.uv_calls() == []

    @pytest.mark.parametrize(
        ("engine", "provider", "profile"),
        [
            ("true", "auto", "containers"),
            ("true", "native", "runner"),
            ("true", "docker", "containers"),
            ("false", "", "runner"),
            ("false", "docker", "containers"),
        ],
    )
    def test_by_provider(self, lacking: Checkout, engine: str, provider: str, profile: str) -> None:
        lacking.program("docker", f"#!/bin/sh\n{engine}\n")
        result = lacking.run("scripts/setup", PROVIDER=provider)
        assert result.returncode == 0, result.stderr
        assert lacking.uv_calls()[1] == f"pip sync {profile}.txt"
        assert ("looked for: --containers" in result.stderr) is (profile == "containers")

    def test_nothing_is_taken_back(self, lacking: Checkout) -> None:
        assert lacking.run("scripts/setup", PROVIDER="native").returncode == 0
        assert lacking.uv_calls()[1] == "pip sync runner.txt"
        assert "looked for: --containers" in lacking.run("scripts/setup").stderr
        assert lacking.uv_calls() == []

    def test_servers_can_be_had_later(self, lacking: Checkout) -> None:
        assert lacking.run("scripts/setup").returncode == 0
        lacking.uv_calls()
        assert "looked for: \n" in lacking.run("scripts/setup", PROVIDER="native").stderr
        assert lacking.uv_calls() == ["pip sync runner.txt", "pip install"]

    def test_developers_need_servers(self, lacking: Checkout) -> None:
        assert "looked for: --browser\n" in lacking.run("scripts/setup", "--dev").stderr

    def test_a_machine_that_has_servers_keeps_them(self, ready: Checkout) -> None:
        ready.link("timeout", shutil.which("timeout"))
        ready.program("docker", "#!/bin/sh\n")
        assert ready.run("scripts/setup").returncode == 0
        assert ready.uv_calls()[1] == "pip sync runner.txt"


def test_moved_checkout_is_installed_anew(ready: Checkout) -> None:
    assert ready.run("scripts/setup").returncode == 0
    ready.uv_calls()
    ready.root = ready.root.rename(ready.root.with_name("moved"))
    assert ready.run("scripts/setup").returncode == 0
    assert ready.uv_calls() == ["pip install"]


def test_packages_are_locked_down_to_the_build(ready: Checkout) -> None:
    ready.run("scripts/setup")
    (sync,) = [line for line in ready.calls.read_text().splitlines() if line.startswith("pip sync")]
    assert "--require-hashes" in sync
    assert "--build-constraints requirements/build.txt" in sync


def test_a_failed_step_is_tried_again(ready: Checkout) -> None:
    ready.program("uv", FAKE_UV.replace("FAILING", "sync"))
    failed = ready.run("scripts/setup")
    assert failed.returncode == 3
    assert "could not install requirements/runner.txt" in failed.stderr
    assert "scripts/system-packages --check" in failed.stderr
    ready.uv_calls()
    ready.program("uv", FAKE_UV)
    assert ready.run("scripts/setup").returncode == 0
    assert ready.uv_calls() == ["pip sync runner.txt", "pip install"]


def test_the_browser_is_for_developers(ready: Checkout) -> None:
    assert "--browser" not in ready.run("scripts/setup").stderr
    assert "looked for: --browser" in ready.run("scripts/setup", "--dev").stderr


def test_two_calls_at_once_do_the_work_once(ready: Checkout) -> None:
    ready.program("uv", FAKE_UV.replace("case", "read -t 0.3 </dev/zero; case", 1))
    both = ready.run("bash", "-c", "scripts/setup & scripts/setup --dev & wait -n && wait -n")
    assert both.returncode == 0, both.stderr
    calls = ready.uv_calls()
    assert calls.count("venv") == 1
    assert calls.count("pip sync dev.txt") == 1


def test_setup_no_skips_everything(checkout: Checkout) -> None:
    write_program(checkout.root / "scripts/system-packages", "#!/bin/sh\nexit 9\n")
    missing = checkout.run("scripts/setup", SETUP="no")
    assert missing.returncode == 3
    assert "make setup" in missing.stderr
    (checkout.root / ".venv/bin").mkdir(parents=True)
    write_program(checkout.root / ".venv/bin/connbench", '#!/bin/sh\necho "ran: $*"\n')
    checkout.link("make", shutil.which("make"))
    for command in (["env", "SETUP=no", "make", "bench"], ["make", "bench", "SETUP=no"]):
        result = checkout.run(*command)
        assert (result.returncode, result.stdout, result.stderr) == (0, "ran: run\n", "")


# --- Python and uv


def found(checkout: Checkout, what: str, **variables: str) -> str:
    script = f'set -euo pipefail; . scripts/lib.sh; {what} && echo "$PY_EXE $PY_VERSION" || echo none'
    return checkout.run("bash", "-c", script, **variables).stdout.strip()


def test_python_under_pyenv_alone_is_found(checkout: Checkout) -> None:
    version = "{}.{}".format(*sys.version_info)
    home = checkout.root.parent / "pyenv/versions" / f"{version}.99/bin"
    assert found(checkout, "find_python") == "none"
    home.mkdir(parents=True)
    (home / "python").symlink_to(checkout.python)
    assert found(checkout, "find_python", PYENV_ROOT=str(home.parents[2])) == f"{checkout.python} {version}"


def test_python_that_only_has_the_name_is_passed_over(checkout: Checkout) -> None:
    checkout.program("python3.13", "#!/bin/sh\necho not switched on >&2; exit 127\n")
    checkout.link("python3", checkout.python)
    assert found(checkout, "find_python").startswith(f"{checkout.python} ")


def test_no_python(ready: Checkout) -> None:
    (ready.bin / "python3").unlink()
    result = ready.run("scripts/setup")
    assert result.returncode == 3
    assert "no Python 3.11 or newer" in result.stderr
    assert "PYTHON=" in result.stderr


def test_named_python_that_does_not_do(ready: Checkout) -> None:
    result = ready.run("scripts/setup", PYTHON="/bin/false")
    assert result.returncode == 3
    assert "PYTHON=/bin/false is not" in result.stderr


@pytest.mark.parametrize(("version", "does"), [("0.7.22", False), ("0.8.0", True), ("0.13.9", True), ("1.0.0", True)])
def test_uv_must_be_new_enough(ready: Checkout, version: str, does: bool) -> None:
    script = "set -euo pipefail; . scripts/lib.sh; find_uv && echo $UV_EXE || echo none"
    result = ready.run("bash", "-c", script, FAKE_UV_VERSION=version)
    assert result.stdout.strip() == (str(ready.bin / "uv") if does else "none")


# --- pip's mirrors, for uv

LISTING = """\
:env:.cert='/etc/company.crt'
global.cert='/etc/other.crt'
global.extra-index-url='file:///srv/wheels\\nhttps://extra.example/simple http://more.example/simple'
global.index-url='https://global.example/simple'
install.index-url='https://user:p%40ss@install.example/simple'
wheel.index-url='https://wheel.example/simple'
"""


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (
            {},
            {
                "UV_DEFAULT_INDEX": "https://user:p%40ss@install.example/simple",
                "UV_INDEX": "https://extra.example/simple http://more.example/simple",
                "UV_INDEX_STRATEGY": "unsafe-best-match",
                "SSL_CERT_FILE": "/etc/company.crt",
            },
        ),
        (
            {
                "UV_DEFAULT_INDEX": "https://own.example",
                "UV_INDEX_STRATEGY": "first-index",
                "SSL_CERT_FILE": "/own",
            },
            {"UV_INDEX": "https://extra.example/simple http://more.example/simple"},
        ),
        (
            {"UV_INDEX_URL": "https://own.example", "UV_EXTRA_INDEX_URL": "x"},
            {"SSL_CERT_FILE": "/etc/company.crt"},
        ),
    ],
)
def test_pip_settings_become_uv_variables(environ: Mapping[str, str], expected: Mapping[str, str]) -> None:
    mirrors = load("pip_to_uv.py")
    assert mirrors.uv_variables(mirrors.parse(LISTING), environ) == expected


def test_pip_without_settings_says_nothing_to_uv() -> None:
    mirrors = load("pip_to_uv.py")
    assert mirrors.uv_variables(mirrors.parse("global.extra-index-url='file:///srv/wheels'\n"), {}) == {}


def test_uv_is_called_with_pips_mirror(ready: Checkout) -> None:
    config = ready.root.parent / "pip.conf"
    config.write_text("[global]\nindex-url = https://mirror.example/it's/simple\n")
    result = ready.run("scripts/uv", "environment", PIP_CONFIG_FILE=str(config))
    assert "UV_DEFAULT_INDEX=https://mirror.example/it's/simple" in result.stdout.splitlines(), result.stderr


# --- scripts/system-packages


@pytest.fixture
def bare(checkout: Checkout) -> Checkout:
    """No compiler, no pkg-config, an ordinary user, and an apt-get that leaves a trace."""
    checkout.link("python3", checkout.python)
    checkout.program("id", "#!/bin/sh\necho 1000\n")
    checkout.program("apt-get", f"#!/bin/sh\necho called >{checkout.root}/apt-called\n")
    return checkout


@pytest.mark.parametrize("sudo", [None, "#!/bin/sh\necho sudo: a password is required >&2; exit 1\n"])
def test_without_root_the_command_is_printed(bare: Checkout, sudo: str | None) -> None:
    if sudo:
        bare.program("sudo", sudo)
    result = bare.run("scripts/system-packages")
    assert result.returncode == 3, result.stderr
    (command,) = re.findall(r"^    (sudo apt-get update && .*)$", result.stdout, re.MULTILINE)
    wanted = {"--no-install-recommends", "gcc", "libc6-dev", "pkg-config", "default-libmysqlclient-dev"}
    assert wanted <= set(command.split())
    assert "- a C compiler, for mysqlclient and uWSGI" in result.stdout
    assert not (bare.root / "apt-called").exists()


def test_with_sudo_it_installs_through_it(bare: Checkout) -> None:
    bare.program("sudo", f'#!/bin/sh\necho "$*" >>{bare.root}/sudo-calls\n')
    result = bare.run("scripts/system-packages")
    assert result.returncode == 3
    assert "installed, and yet missing" in result.stderr  # as the stand-in does nothing
    last = (bare.root / "sudo-calls").read_text().splitlines()[-1]
    assert re.search(r"scripts/system-packages --install .*\bpkg-config\b", last)


def test_containers_need_no_compiler(bare: Checkout) -> None:
    result = bare.run("scripts/system-packages", "--check", "--containers")
    assert "compiler" not in result.stdout
    assert "PostgreSQL" not in result.stdout


def test_check_only_reports(bare: Checkout) -> None:
    result = bare.run("scripts/system-packages", "--check")
    assert result.returncode == 3
    assert "a C compiler" in result.stdout
    assert "Chromium" not in result.stdout
    assert "Chromium" in bare.run("scripts/system-packages", "--check", "--browser").stdout
    assert not (bare.root / "apt-called").exists()


def test_other_systems_are_told_what_is_missing(bare: Checkout) -> None:
    (bare.bin / "apt-get").unlink()
    result = bare.run("scripts/system-packages")
    assert result.returncode == 3
    assert "a C compiler" in result.stdout
    assert "no Debian or Ubuntu" in result.stdout


# --- Makefile


def make(*arguments: str) -> str:
    """Without the settings of a make that this test may itself be run by."""
    command = ["make", "-C", str(ROOT), *arguments]
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_help_lists_every_target() -> None:
    targets = re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    shown = make("help")
    assert len(targets) > 10
    assert re.findall(r"^  make ([\w-]+) +\S", shown, re.MULTILINE) == targets


@pytest.mark.parametrize(
    ("settings", "flags"),
    [
        ([], ""),
        (["QUICK=1"], "--quick"),
        (["QUICK=0"], ""),
        (["MATRIX=a b.yaml", "BLOCKS=2", "ONLY=pg-*"], "-m 'a b.yaml' --blocks '2' --only 'pg-*'"),
        (["PROVIDER=docker", "ARGS=--seed 7"], "--provider 'docker' --seed 7"),
    ],
)
def test_settings_of_bench(settings: list[str], flags: str) -> None:
    lines = make("-n", "bench", "SETUP=no", *settings).splitlines()
    (line,) = [line for line in lines if "connbench run" in line]
    assert line.split() == [".venv/bin/connbench", "run", *flags.split()]


# --- requirements/


def pins(path: Path) -> dict[str, str]:
    """Each requirement with its version."""
    text = path.read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.stem)
def test_requirements_are_hashed_and_name_no_address(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host", text)
    requirements = re.findall(r"^[^\s#].*(?:\n +--hash.*)*", text, re.MULTILINE)
    assert requirements
    assert [each for each in requirements if "==" not in each or "--hash=sha256:" not in each] == []


def test_developers_have_the_runners_versions() -> None:
    runner, dev = (pins(ROOT / "requirements" / name) for name in ("runner.txt", "dev.txt"))
    assert runner.items() <= dev.items()


def test_containers_need_less_of_the_same_versions() -> None:
    runner, containers = (pins(ROOT / "requirements" / name) for name in ("runner.txt", "containers.txt"))
    assert runner.keys() - containers.keys() == {"mysqlclient"}, "it would have to be compiled"
    assert containers.items() <= runner.items()


# --- scripts/check-summary


@pytest.mark.parametrize(
    ("cells", "code", "said"),
    [
        ([("a", "ok", None), ("b", "skipped", "no pool on MySQL")], 0, "2 cells: 1 ok, 1 skipped"),
        ([("a", "ok", None), ("b", "skipped", "")], 1, "b: skipped without a reason"),
        ([("a", "ok", None), ("b", "failed", "no answer\nin 10 s")], 1, "b: failed: no answer"),
        ([("a", "ok", None), ("b", "invalid", None)], 1, "b: invalid: no reason given"),
        ([("a", "ok", None), ("b", None, None)], 1, "b: None: no reason given"),
        ([("a", "skipped", "no server")], 1, "no cell is ok"),
        ([], 1, "has no cells"),
    ],
)
def test_verdict_on_a_summary(
    cells: list[tuple[str, str, str]],
    code: int,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    summary = {"cells": [dict(zip(("id", "status", "reason"), cell, strict=True)) for cell in cells]}
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(summary), encoding="utf-8")
    assert load("check-summary").main([str(path)]) == code
    assert said in "".join(capsys.readouterr())


@pytest.mark.parametrize("text", [None, "", "{}", "[]", '{"cells": 3}', '{"cells": ["ok"]}'])
def test_no_summary(text: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "summary.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    assert load("check-summary").main([str(path)]) == 2
    assert "is no run's summary" in capsys.readouterr().err
