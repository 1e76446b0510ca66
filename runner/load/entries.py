"""Load hosts as a matrix names them: by any name, to be joined by hand, or `ssh://user@host/path/of/the/checkout`."""

from dataclasses import dataclass

from runner.ssh import NAME, SshTarget, parse_target


@dataclass(frozen=True)
class HostEntry:
    """One load host. `ssh` is None where somebody joins it by hand; its path is this checkout's unless told."""

    name: str
    ssh: SshTarget | None = None


def parse_host(text: str) -> HostEntry:
    """ValueError, with what is allowed, where it is neither a name nor an address for ssh."""
    if NAME.fullmatch(text):
        return HostEntry(text)
    try:
        found = parse_target(text)
    except ValueError as error:
        allowed = "allowed: a name, for a host that is joined by hand, or ssh://user@host/path/of/its/checkout"
        raise ValueError(f"{error}, {allowed}") from None
    return HostEntry(found.host if found.port is None else f"{found.host}:{found.port}", found)
