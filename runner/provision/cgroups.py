"""What a container uses, from the kernel's own accounts: exact at any moment, and as cheap as a look at a process.

Only where the engine runs on this machine; its statistics are the same figures, renewed once a second.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from runner.provision.service import Usage

MOUNTS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Cgroup:
    """The folders of a container's control group; the same one under version 2."""

    cpu: Path
    memory: Path

    def usage(self) -> Usage:
        """Page cache that could be given back is left out, as `docker stats` does. OSError once it has gone."""
        if (self.cpu / "cpu.stat").exists() and not (self.cpu / "cpuacct.usage").exists():
            seconds = _fields(self.cpu / "cpu.stat")["usage_usec"] / 1e6
            used, cache = self.memory / "memory.current", "inactive_file"
        else:
            seconds = int((self.cpu / "cpuacct.usage").read_text()) / 1e9
            used, cache = self.memory / "memory.usage_in_bytes", "total_inactive_file"
        given_back = _fields(self.memory / "memory.stat").get(cache, 0)
        return Usage(seconds, max(0, int(used.read_text()) - given_back))

    def memory_kills(self) -> int:
        """How many of its processes the kernel has killed for want of memory. OSError once it has gone."""
        events = self.memory / "memory.events"
        return _fields(events if events.exists() else self.memory / "memory.oom_control").get("oom_kill", 0)


def find(pid: int, container: str, mounts: Path = MOUNTS, processes: Path = Path("/proc")) -> Cgroup | None:
    """The control group of a container's first process; None where that process is not this machine's."""
    folders: dict[str, Path] = {}
    with contextlib.suppress(OSError, ValueError):
        for line in (processes / str(pid) / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            # The pid may be somebody else's, where the engine is another machine's.
            if container in path:
                for name in controllers.split(",") if controllers else [""]:
                    folders[name] = mounts / (controllers or "") / path.lstrip("/")
    if "cpuacct" in folders and "memory" in folders:
        return Cgroup(folders["cpuacct"], folders["memory"])
    return Cgroup(folders[""], folders[""]) if "" in folders and (folders[""] / "memory.current").exists() else None


def _fields(path: Path) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in path.read_text().splitlines())}
