"""Prints pip's mirror settings as shell exports for uv, which does not read pip's configuration.

Run by whichever Python has pip, so nothing here is newer than Python 3.9.
"""

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping

# `pip config list` names each value by its section; for `pip install` the environment goes before the
# command's own section, and that before the global one.
SECTIONS = (":env:", "install", "global")
LINE = re.compile(r"^(?P<section>:env:|\w+)\.(?P<option>[\w-]+)=(?P<value>.*)$")


def parse(listing: str) -> dict[str, str]:
    """Reads `pip config list`: for each option, the value that `pip install` would use."""
    found = {}
    for line in listing.splitlines():
        match = LINE.match(line)
        if match and match["section"] in SECTIONS:
            found[match["section"], match["option"]] = str(ast.literal_eval(match["value"]))
    in_order = sorted(found, key=lambda key: SECTIONS.index(key[0]), reverse=True)
    return {option: found[section, option] for section, option in in_order}


def uv_variables(config: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """What uv needs to be told to install from where pip does, less what it has been told already."""
    wanted = {}
    if config.get("index-url") and not environ.get("UV_INDEX_URL"):
        wanted["UV_DEFAULT_INDEX"] = config["index-url"]
    # A folder on this machine is pip's business: the locked hashes are those of the index.
    extra = [url for url in config.get("extra-index-url", "").split() if url.startswith(("http:", "https:"))]
    if extra and not environ.get("UV_EXTRA_INDEX_URL"):
        wanted["UV_INDEX"] = " ".join(extra)
        # pip looks at every index for the version that it wants, uv only at the first that has the name.
        wanted["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if config.get("cert"):
        wanted["SSL_CERT_FILE"] = config["cert"]
    return {name: value for name, value in wanted.items() if not environ.get(name)}


def main() -> None:
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    for name, value in uv_variables(parse(listing), os.environ).items():
        print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    main()
