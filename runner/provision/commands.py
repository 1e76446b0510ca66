"""Commands on this machine: where their programs are, as whom they run and with what environment."""

import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

from runner.errors import StackError
from runner.provision.journal import MARK, own_mark
from runner.provision.service import Command, Kit

# PostgreSQL, MariaDB and PgBouncer refuse root; under root they run as this user, who owns nothing else.
UNPRIVILEGED = "nobody"

#: A Python with its standard library, as our own.
PYTHON = Kit("python", "python:3.11-slim-bookworm", lambda _: sys.executable)


def own_module(module: str, *arguments: str) -> Command:
    """A process of the runner's own code: the code of this checkout, whichever one is installed."""
    root = str(Path(__file__).resolve().parents[2])
    return Command([sys.executable, "-m", module, *arguments], {"PYTHONPATH": root})


class ThisMachine:
    """Programs that are installed here. See `runner.provision.service.Place`."""

    def program(self, kit: Kit, name: str) -> str:
        return kit.locate(name)

    def run(self, command: Command, *, limit: float, what: str, unprivileged: bool = False) -> str:
        return run_command(command, limit=limit, what=what, unprivileged=unprivileged)


def run_command(
    command: Command, *, limit: float, what: str, unprivileged: bool = False, stdin: Path | None = None
) -> str:
    """Runs one command to its end and returns its output; a failure carries the output's tail."""
    try:
        with (stdin or Path(os.devnull)).open("rb") as source:
            done = subprocess.run(
                list(command.argv),
                env=environment_of(command),
                cwd=command.cwd,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=limit,
                check=False,
                **identity(unprivileged),
            )
    except subprocess.TimeoutExpired as error:
        raise StackError(f"{what} did not end within {limit:.0f} s") from error
    except OSError as error:
        raise StackError(f"{what} could not be started: {error}") from error
    output = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        tail = "\n".join(output.splitlines()[-20:])
        raise StackError(f"{what} failed with exit code {done.returncode}:\n{tail}")
    return output


def base_environment() -> dict[str, str]:
    """The little that a service takes from the runner's own environment: nothing that could steer it; and our mark."""
    kept = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "HOME", "LD_LIBRARY_PATH")
    return {**{name: os.environ[name] for name in kept if name in os.environ}, MARK: own_mark()}


def environment_of(command: Command) -> dict[str, str]:
    """The whole environment in which a command is started."""
    return {**base_environment(), **command.env}


class Identity(TypedDict, total=False):
    """Popen's arguments that say as whom to run."""

    user: int
    group: int
    extra_groups: list[int]


def identity(unprivileged: bool) -> Identity:
    """Popen's arguments that drop root, when there is root to drop."""
    if not unprivileged or os.geteuid() != 0:
        return {}
    account = pwd.getpwnam(UNPRIVILEGED)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
