"""What a server keeps in the machine's shared memory, which outlives it where it is killed.

PostgreSQL has two kinds: files in /dev/shm, one of which lists the others, and a System V segment of a few bytes by
which a second server on the same data would notice the first. A name alone proves nothing, since anybody may come to
have it later: a file is known by its inode, a segment by its creator and the second in which that made it. Standard
library only, as the guard uses it.
"""

import array
import contextlib
import ctypes
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

FILES = Path("/dev/shm")
_SYSTEM_V = Path("/proc/sysvipc/shm")
_PREFIX = "PostgreSQL."
#: The first word of the file that lists the others (PG_DYNSHMEM_CONTROL_MAGIC in PostgreSQL's dsm.c).
CONTROL_MAGIC = 0x9A503D32
_IPC_RMID = 0


@dataclass(frozen=True)
class Segment:
    """`name` is a file's path or a System V segment's number; `identity` tells it from a later one of that name."""

    name: str
    identity: str

    @property
    def exists(self) -> bool:
        """Whether it is still this very one."""
        return self.identity == (_file_identity(Path(self.name)) if self._is_file else _system_v().get(self.name))

    @property
    def _is_file(self) -> bool:
        return self.name.startswith("/")

    def remove(self) -> None:
        """Removes it, if it is still this one."""
        if not self.exists:
            return
        if not self._is_file:
            ctypes.CDLL(None).shmctl(int(self.name), _IPC_RMID, None)
            return
        for path in (*_listed_in(Path(self.name)), Path(self.name)):
            with contextlib.suppress(OSError):
                path.unlink()


def held_by(pid: int) -> list[Segment]:
    """What a live process has mapped of /dev/shm, and the System V segments that it made."""
    found = [Segment(str(path), _file_identity(path)) for path in sorted(set(_mapped(pid)))]
    made = [Segment(name, identity) for name, identity in _system_v().items() if identity.startswith(f"{pid}@")]
    return [segment for segment in [*found, *made] if segment.identity]


def remove(segments: Collection[Segment]) -> list[Segment]:
    """Removes those whose server is dead; returns those that are still there."""
    for segment in segments:
        segment.remove()
    return [segment for segment in segments if segment.exists]


def _mapped(pid: int) -> Iterator[Path]:
    """By proc(5), the last of six columns is the file's path."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
            path = Path(line.split(maxsplit=5)[-1])
            if path.parent == FILES:
                yield path


def _file_identity(path: Path) -> str:
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def _listed_in(control: Path) -> list[Path]:
    """The files whose numbers stand in this one, by the same owner; none unless it is such a list.

    How the list is laid out differs between versions of PostgreSQL. A number is one of two billion: that a stranger's
    stands there by chance does not happen.
    """
    try:
        content, owner = control.read_bytes(), control.stat().st_uid
        words = array.array("I", content[: len(content) // 4 * 4])
        if not words or words[0] != CONTROL_MAGIC:
            return []
        others = [path for path in FILES.glob(f"{_PREFIX}*") if path != control and path.lstat().st_uid == owner]
    except OSError:
        return []
    numbers = {str(word) for word in words}
    return [path for path in others if path.name.removeprefix(_PREFIX) in numbers]


def _system_v() -> dict[str, str]:
    """Every System V segment's number and identity."""
    try:
        head, *lines = _SYSTEM_V.read_text().splitlines()
    except OSError:
        return {}
    columns = head.split()
    rows = (dict(zip(columns, line.split(), strict=False)) for line in lines)
    return {row["shmid"]: f"{row['cpid']}@{row['ctime']}" for row in rows}
