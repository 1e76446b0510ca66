"""Apache with mod_wsgi in daemon mode: processes × threads behind Apache's own, which keep the clients alive."""

import os
import pwd
import re
import shutil
import signal
import stat
from pathlib import Path
from typing import Literal

from pydantic import Field

from runner import waiting
from runner.errors import EnvironmentUnfit
from runner.provision.commands import UNPRIVILEGED, run_command
from runner.provision.service import Command
from runner.stacks.servers.base import Launch, ServerSpec, worker_environment
from runner.stacks.versions import SYSTEM_PYTHON

INSTALL = "make setup PROVIDER=native, or apt-get install apache2-bin libapache2-mod-wsgi-py3"
#: Where Debian's packages put Apache's modules.
MODULES = Path("/usr/lib/apache2/modules")
# What the app's process reads of the project beside its own code.
OVERLAY = Path(__file__).parent.parent / "overlay"
# Apache's own default, in seconds.
KEEP_ALIVE = 5
# Apache's own threads only hand requests on, each one at a time: enough of them for every client of a load.
FRONT_PROCESSES = 16
FRONT_THREADS = 64

CONFIG = """\
ServerRoot "{scratch}"
ServerName {host}
Listen {address}
DefaultRuntimeDir "{scratch}"
PidFile "{scratch}/httpd.pid"
Mutex "file:{scratch}"
LoadModule mpm_event_module "{modules}/mod_mpm_event.so"
LoadModule authz_core_module "{modules}/mod_authz_core.so"
LoadModule wsgi_module "{modules}/mod_wsgi.so"
{identity}
StartServers 1
ServerLimit {front_processes}
ThreadsPerChild {front_threads}
MaxRequestWorkers {front_workers}
MaxSpareThreads {front_workers}
KeepAlive On
KeepAliveTimeout {keep_alive}
MaxKeepAliveRequests 0
ErrorLog "/dev/stderr"
LogFormat "%>s %U%q" connbench
CustomLog "{access_log}" connbench
WSGISocketPrefix "{scratch}/wsgi"
WSGIDaemonProcess app processes={processes} threads={threads} listen-backlog=1024 python-home="{home}" home="{project}"
WSGIScriptAlias / "{script}" process-group=app application-group=%{{GLOBAL}}
<Location "/">
    Require all granted
</Location>
"""


class ModWsgiSpec(ServerSpec):
    """The daemon's `processes` and `threads`; the defaults are mod_wsgi's own."""

    kind: Literal["mod_wsgi"] = "mod_wsgi"
    processes: int = Field(default=1, ge=1, le=256)
    threads: int = Field(default=15, ge=1, le=256)

    @property
    def packages(self) -> frozenset[str]:
        return frozenset()

    @property
    def system_python(self) -> bool:
        return True

    @property
    def process_count(self) -> int:
        return self.processes

    @property
    def threads_per_process(self) -> int | None:
        return self.threads

    @property
    def keep_alive_seconds(self) -> float | None:
        return KEEP_ALIVE

    @property
    def reload_signal(self) -> signal.Signals | None:
        return signal.SIGUSR1

    @property
    def title(self) -> str:
        return f"mod_wsgi {self.processes} × {self.threads}"

    @classmethod
    def installed(cls) -> str:
        program = find_program()
        _require_its_python()
        if os.geteuid() == 0:
            _require_way_in(OVERLAY)
        command = Command([program, "-v"])
        version = run_command(command, limit=waiting.VERSION_COMMAND, what="apache2 -v").splitlines()[0]
        return version.removeprefix("Server version: ").strip()

    def command(self, launch: Launch) -> Command:
        # What runs the app under root is another user, who may walk to what he is to read, and list nothing.
        launch.scratch.chmod(0o711)
        config = launch.scratch / "httpd.conf"
        config.write_text(self._config(launch, _script(launch)))
        argv = [find_program(), "-f", str(config), "-DFOREGROUND"]
        return Command(argv, worker_environment(launch), launch.project, stop_signal=signal.SIGTERM)

    def _config(self, launch: Launch, script: Path) -> str:
        return CONFIG.format(
            scratch=launch.scratch,
            host=launch.address.host,
            address=launch.address,
            modules=MODULES,
            identity=_identity(),
            front_processes=FRONT_PROCESSES,
            front_threads=FRONT_THREADS,
            front_workers=FRONT_PROCESSES * FRONT_THREADS,
            keep_alive=KEEP_ALIVE,
            access_log=launch.access_log,
            processes=self.processes,
            threads=self.threads,
            home=launch.bin.parent,
            project=launch.project,
            script=script,
        )


def _script(launch: Launch) -> Path:
    """mod_wsgi wants a file, not a module, with an `application` in it."""
    module, _, attribute = launch.wsgi.partition(":")
    path = launch.scratch / "app.wsgi"
    path.write_text(f"from {module} import {attribute} as application\n")
    path.chmod(0o644)
    return path


def _identity() -> str:
    """Apache serves nothing as root, and neither do mod_wsgi's daemons; whoever else starts it keeps his own rights."""
    if os.geteuid() != 0:
        return ""
    account = pwd.getpwnam(UNPRIVILEGED)
    return f"User {UNPRIVILEGED}\nGroup #{account.pw_gid}"


def find_program() -> str:
    """Apache's program, with mod_wsgi beside it; Debian has it where an ordinary user's PATH does not look."""
    found = shutil.which("apache2", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        raise EnvironmentUnfit(f"Apache is not installed (no apache2 was found): {INSTALL}")
    if not (MODULES / "mod_wsgi.so").exists():
        raise EnvironmentUnfit(f"Apache's mod_wsgi is not installed (no mod_wsgi.so in {MODULES}): {INSTALL}")
    return found


def _require_its_python() -> None:
    """mod_wsgi brings the library of one Python version, and no other's environment works in it."""
    linked = re.search(rb"libpython(\d+\.\d+)", (MODULES / "mod_wsgi.so").read_bytes())
    wanted = linked[1].decode() if linked else "an unknown version"
    found = SYSTEM_PYTHON.resolve().name.removeprefix("python")
    if found != wanted:
        has = f"is {found}" if SYSTEM_PYTHON.exists() else "is missing"
        raise EnvironmentUnfit(
            f"mod_wsgi is compiled for Python {wanted}, and {SYSTEM_PYTHON} {has}: "
            "install both from the system's own packages, or leave the mod_wsgi cells out (--only)"
        )


def _require_way_in(folder: Path) -> None:
    closed = [parent for parent in (folder, *folder.parents) if not parent.stat().st_mode & stat.S_IXOTH]
    if closed:
        raise EnvironmentUnfit(
            f"mod_wsgi runs nothing as root, and {UNPRIVILEGED}, who runs it instead, may not enter {closed[-1]}, "
            "where connbench lies: run connbench as an ordinary user, or from a folder that all users may enter"
        )
