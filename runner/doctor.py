"""What this machine has and lacks, with the command that mends it."""

import os
import resource
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

import docker
from docker.errors import DockerException
from rich.console import Console
from rich.markup import escape

from runner.errors import EnvironmentUnfit
from runner.host import system_name
from runner.stacks.app import ROOT
from runner.stacks.databases import DATABASES
from runner.stacks.poolers import POOLERS
from runner.stacks.poolers.proxysql import find_program as find_proxysql
from runner.stacks.servers import SERVERS

# Each stack takes some ten processes, each of these a few dozen files; a group has up to twenty stacks.
OPEN_FILES = 4096
#: Installs servers although an engine may answer.
SET_UP = "make setup PROVIDER=native"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `remedy` is a command, or empty where nothing is wrong."""

    what: str
    found: str
    remedy: str = ""
    #: Without it nothing runs; otherwise something is left out.
    needed: bool = True


def require_programs(engines: Iterable[str], poolers: Iterable[str] = (), servers: Iterable[str] = ()) -> None:
    """Refuses to start a run whose database servers, poolers or application servers are not installed."""
    for engine in sorted(engines):
        DATABASES[engine].installed()
    for kind in sorted(poolers):
        POOLERS[kind].installed()
    wanted = set(servers)
    for server in SERVERS:
        if server.model_fields["kind"].default in wanted:
            server.installed()


def examine(results: Console) -> int:
    """Prints every finding; returns 0, or 3 where something needed is missing."""
    engine = _docker()
    # Where a Docker engine answers, servers come in its containers.
    natively = bool(engine.remedy)
    findings = [*_databases(natively), *_poolers(), *_servers(), _system_packages(natively), _files(), engine]
    for finding in findings:
        mark = "[green]✓[/]" if not finding.remedy else "[red]✗[/]" if finding.needed else "[yellow]–[/]"
        results.print(f"{mark} {finding.what}: {escape(finding.found)}", highlight=False, soft_wrap=True)
        if finding.remedy:
            results.print(f"    to mend it: {finding.remedy}", highlight=False, markup=False, soft_wrap=True)
    return EnvironmentUnfit.exit_code if any(finding.remedy and finding.needed for finding in findings) else 0


def _databases(needed: bool) -> list[Finding]:
    findings = []
    for engine, database in DATABASES.items():
        try:
            findings.append(Finding(f"{engine} server", database.installed()))
        except EnvironmentUnfit as error:
            findings.append(Finding(f"{engine} server", str(error), SET_UP, needed))
    return findings


def _poolers() -> list[Finding]:
    """Matrices without poolers run without any."""
    findings = []
    for kind, pooler in POOLERS.items():
        try:
            findings.append(Finding(f"{kind} pooler", pooler.installed()))
        except EnvironmentUnfit as error:
            findings.append(Finding(f"{kind} pooler", str(error), SET_UP, needed=False))
    found = find_proxysql()
    if found is None:
        remedy = "nothing: Debian has no package of it, and connbench does not drive it yet"
        findings.append(Finding("proxysql pooler", "not installed; its cells are skipped", remedy, needed=False))
    else:
        findings.append(Finding("proxysql pooler", f"{found}; connbench does not drive it yet, its cells are skipped"))
    return findings


def _servers() -> list[Finding]:
    """Of most there is nothing to find: the app's environment has them."""
    findings = []
    for server in SERVERS:
        what = f"{server.model_fields['kind'].default} server"
        try:
            if found := server.installed():
                findings.append(Finding(what, found))
        except EnvironmentUnfit as error:
            findings.append(Finding(what, str(error), SET_UP, needed=False))
    return findings


def _system_packages(needed: bool) -> Finding:
    """mysqlclient and uWSGI come as source."""
    check = subprocess.run(
        [ROOT / "scripts" / "system-packages", "--check"], capture_output=True, text=True, check=False
    )
    if check.returncode == 0:
        return Finding("system packages", f"complete ({system_name()})")
    return Finding("system packages", check.stderr.strip() or check.stdout.strip(), "scripts/system-packages", needed)


def _files() -> Finding:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    found = f"{limit} per process, {os.cpu_count()} cores"
    return Finding("open files", found, "" if limit >= OPEN_FILES else f"ulimit -n {OPEN_FILES}")


def _docker() -> Finding:
    try:
        client = docker.from_env(timeout=5)
        version = client.version()["Version"]
        client.close()
    except DockerException:
        client_found = "its client is installed, no engine answers" if shutil.which("docker") else "not installed"
        return Finding(
            "Docker",
            f"{client_found}; everything runs natively",
            "start Docker, or set DOCKER_HOST (docs/docker.md)",
            needed=False,
        )
    return Finding("Docker", f"engine {version}")
