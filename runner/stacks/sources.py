"""Packages from a git repository: which commit a branch or tag is now."""

import os
import re
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from runner import waiting
from runner.errors import EnvironmentUnfit, StackError
from runner.provision.commands import run_command
from runner.provision.service import Command
from runner.stacks.app import ROOT
from runner.stacks.versions import Source, parse_source

_COMMIT = re.compile(r"[0-9a-f]{40}")


def pinned(version: str) -> str:
    """A git reference with its commit in the reference's place; a released version as it is.

    A branch goes on: what is made of it belongs to the commit, and the next one makes it anew. EnvironmentUnfit, with
    git's own words, where the repository does not answer or has no such reference.
    """
    source = parse_source(version)
    if source is None or _COMMIT.fullmatch(source.reference):
        return version
    return source.at(_commit_of(source))


def pinned_requirement(requirement: str) -> str:
    """The same for a requirement of an app's: at a commit where it comes from a git repository, as it is otherwise.

    EnvironmentUnfit also for an address that is not understood: its branch would be measured for ever as it was once.
    """
    wanted = Requirement(requirement)
    if wanted.url is None or not wanted.url.startswith("git+"):
        return requirement
    url, _, fragment = wanted.url.partition("#")
    # What stands before an address's host is who asks.
    at = "" if "@" in urlsplit(url).path else "@HEAD"
    # Beside the folder, pip's older spelling has the package's name there.
    part = "".join(f"#{one}" for one in fragment.split("&") if one.startswith("subdirectory="))
    address = f"{url}{at}{part}"
    if parse_source(address) is None:
        raise EnvironmentUnfit(
            f"{wanted.name}: its address is none of a git repository that can be asked which commit it is at: write "
            "git+https://, git+ssh:// or git+file://, and behind an @ the branch, tag or commit"
        )
    wanted.url = pinned(address)
    return str(wanted)


def _commit_of(source: Source) -> str:
    reference = source.reference
    # A tag with a message is an object of its own; the commit is what it names.
    asked = [reference, f"{reference}^{{}}"]
    argv = ["git", "ls-remote", source.url.removeprefix("git+"), *asked]
    environ = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        lines = run_command(Command(argv, environ, ROOT), limit=waiting.GIT, what=f"git ls-remote {source.url}")
    except StackError as error:
        raise EnvironmentUnfit(str(error)) from error
    found = {name: commit for commit, _, name in (line.partition("\t") for line in lines.splitlines())}
    for name in (f"refs/heads/{reference}", f"refs/tags/{reference}^{{}}", f"refs/tags/{reference}", reference):
        if name in found:
            return found[name]
    raise EnvironmentUnfit(f"{source.url} has no branch or tag {reference}")
