"""Load hosts as a matrix names them."""

import pytest

from runner.load.entries import HostEntry, parse_host
from runner.ssh import SshTarget


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("east-1", HostEntry("east-1")),
        ("10.0.0.7", HostEntry("10.0.0.7")),
        ("ssh://east-1", HostEntry("east-1", SshTarget("east-1"))),
        ("ssh://bench@east-1", HostEntry("east-1", SshTarget("east-1", "bench"))),
        ("ssh://east-1:2222/opt/cb/", HostEntry("east-1:2222", SshTarget("east-1", "", 2222, "/opt/cb"))),
    ],
)
def test_what_is_a_host(text: str, entry: HostEntry) -> None:
    assert parse_host(text) == entry


@pytest.mark.parametrize(
    "text",
    [
        "",
        "two words",
        "-oProxyCommand=x",
        "tcp://east-1",
        "ssh://",
        "ssh://-oProxyCommand=x",
        "ssh://-x@east-1",
        "ssh://bench:secret@east-1",
        "ssh://east-1:many",
        "ssh://east-1/opt/$(reboot)",
        "ssh://east-1/opt?x=1",
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="allowed: a name, for a host that is joined by hand, or ssh://user@host/"):
        parse_host(text)
