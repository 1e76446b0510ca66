"""Where connbench remembers, outside of any checkout, what goes on on this machine: the lock, and what runs started."""

import os
import stat
from pathlib import Path

from runner.errors import EnvironmentUnfit


def state_folder() -> Path:
    """This user's folder, made if missing: CONNBENCH_STATE, else one in TMPDIR, else in XDG_RUNTIME_DIR, else in /tmp.

    All of connbench on a machine is to share one folder, so that two runs know of each other. EnvironmentUnfit
    where the folder cannot be made, or belongs to somebody else: whoever can write there could have us end processes.
    """
    folder = state_path()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise EnvironmentUnfit(
            f"{folder} cannot be made ({error.strerror}): set TMPDIR to a folder of your own"
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise EnvironmentUnfit(
            f"{folder} is not a folder that is yours alone: remove it, or set TMPDIR to a folder of your own"
        )
    return folder


def state_path() -> Path:
    """Where that folder is, whether it exists or not."""
    if given := os.environ.get("CONNBENCH_STATE"):
        return Path(given).absolute()
    base = os.environ.get("TMPDIR") or os.environ.get("XDG_RUNTIME_DIR") or "/tmp"
    return Path(base).absolute() / f"connbench.state-{os.geteuid()}"
