"""Load hosts as a matrix names them: by any name, to be joined by hand, or `ssh://user@host/path/of/the/checkout`."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}")
#: What nobody would have to quote, on either side.
_PATH = re.compile(r"(/[A-Za-z0-9._+-]+)*/?")


@dataclass(frozen=True)
class SshTarget:
    """Where ssh goes; user and port are as the user's own ssh has them, the path this checkout's, unless told."""

    host: str
    user: str = ""
    port: int | None = None
    path: str = ""

    @property
    def arguments(self) -> list[str]:
        """ssh's own, without the command."""
        port = [] if self.port is None else ["-p", str(self.port)]
        return [*port, f"{self.user}@{self.host}" if self.user else self.host]


@dataclass(frozen=True)
class HostEntry:
    """One load host. `ssh` is None where somebody joins it by hand."""

    name: str
    ssh: SshTarget | None = None


def parse_host(text: str) -> HostEntry:
    """ValueError, with what is allowed, where it is neither a name nor an address for ssh."""
    allowed = "allowed: a name, for a host that is joined by hand, or ssh://user@host/path/of/its/checkout"
    if _NAME.fullmatch(text):
        return HostEntry(text)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"found {text!r} ({error}), {allowed}") from None
    host, user = parts.hostname or "", parts.username or ""
    well_formed = _NAME.fullmatch(host) and (not user or _USER.fullmatch(user)) and _PATH.fullmatch(parts.path)
    if parts.scheme != "ssh" or not well_formed or parts.password or parts.query or parts.fragment:
        raise ValueError(f"found {text!r}, {allowed}")
    return HostEntry(host if port is None else f"{host}:{port}", SshTarget(host, user, port, parts.path.rstrip("/")))
