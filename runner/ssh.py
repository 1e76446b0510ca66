"""Other machines over ssh: the user's own, with its keys and its configuration."""

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

#: What calls ssh, where it is to be called with options of one's own (as git's GIT_SSH_COMMAND).
VARIABLE = "CONNBENCH_SSH"
#: Nobody is there to be asked for a password.
OPTIONS = ("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}")
#: What nobody would have to quote, on either side.
_PATH = re.compile(r"(/[A-Za-z0-9._+-]+)*/?")


@dataclass(frozen=True)
class SshTarget:
    """Where ssh goes; user and port are as the user's own ssh has them unless told."""

    host: str
    user: str = ""
    port: int | None = None
    path: str = ""

    @property
    def arguments(self) -> list[str]:
        """ssh's own, without the command."""
        port = [] if self.port is None else ["-p", str(self.port)]
        return [*port, f"{self.user}@{self.host}" if self.user else self.host]

    def command(self, there: str) -> Sequence[str]:
        """What runs a shell's command there."""
        return [*shlex.split(os.environ.get(VARIABLE, "ssh")), *OPTIONS, *self.arguments, there]


def parse_target(text: str) -> SshTarget:
    """`ssh://user@host:port/path`; ValueError, with what was found, where it is something else."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"found {text!r} ({error})") from None
    host, user = parts.hostname or "", parts.username or ""
    well_formed = NAME.fullmatch(host) and (not user or _USER.fullmatch(user)) and _PATH.fullmatch(parts.path)
    if parts.scheme != "ssh" or not well_formed or parts.password or parts.query or parts.fragment:
        raise ValueError(f"found {text!r}")
    return SshTarget(host, user, port, parts.path.rstrip("/"))


def parse_engine(text: str) -> SshTarget:
    """The same for a Docker engine, whose address has no path."""
    target = parse_target(text)
    if target.path:
        raise ValueError(f"found {text!r}, with a path, which is for the host's own DOCKER_HOST to name")
    return target
