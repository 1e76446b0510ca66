"""A launch for tests of what a server is started with."""

from dataclasses import replace
from pathlib import Path

from runner.provision.service import Address
from runner.stacks.servers.base import Launch

LAUNCH = Launch(
    bin=Path("/env/bin"),
    project=Path("/project"),
    wsgi="shop.wsgi:application",
    asgi="shop.asgi:application",
    address=Address("127.0.0.1", 15001),
    access_log=Path("/logs/access.log"),
    scratch=Path("/scratch"),
    env={"CONNBENCH_OVERLAY": "{}", "DJANGO_SETTINGS_MODULE": "connbench_settings"},
)


def launch_in(folder: Path) -> Launch:
    """The same with a scratch folder that can be written to."""
    return replace(LAUNCH, scratch=folder)


def options(argv: list[str]) -> dict[str, str]:
    """`--name value` pairs; a switch has an empty value."""
    found: dict[str, str] = {}
    for word, following in zip(argv, [*argv[1:], "--"], strict=True):
        if word.startswith("--"):
            found[word.removeprefix("--")] = "" if following.startswith("--") else following
    return found
