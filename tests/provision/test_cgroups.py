"""A container's figures from the kernel's own files, under both versions of control groups."""

from pathlib import Path

import pytest

from runner.provision.cgroups import find
from runner.provision.service import Usage

CONTAINER = "6b1d7cbf" * 8


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_first_version(tmp_path: Path) -> None:
    group = f"docker/{CONTAINER}"
    write(tmp_path / "proc/42/cgroup", f"4:cpuacct:/{group}\n3:memory:/{group}\n1:name=systemd:/{group}\n0::/\n")
    write(tmp_path / "sys/cpuacct" / group / "cpuacct.usage", "1500000000\n")
    write(tmp_path / "sys/memory" / group / "memory.usage_in_bytes", "5000\n")
    write(tmp_path / "sys/memory" / group / "memory.stat", "cache 900\ninactive_file 1\ntotal_inactive_file 800\n")
    found = find(42, CONTAINER, tmp_path / "sys", tmp_path / "proc")
    assert found is not None
    assert found.usage() == Usage(1.5, 4200)
    write(tmp_path / "sys/memory" / group / "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert found.memory_kills() == 2


def test_the_first_version_with_cpu_and_its_accounts_together(tmp_path: Path) -> None:
    group = f"docker/{CONTAINER}"
    write(tmp_path / "proc/42/cgroup", f"4:cpu,cpuacct:/{group}\n3:memory:/{group}\n")
    write(tmp_path / "sys/cpu,cpuacct" / group / "cpuacct.usage", "250000000\n")
    write(tmp_path / "sys/cpu,cpuacct" / group / "cpu.stat", "nr_periods 0\n")
    write(tmp_path / "sys/memory" / group / "memory.usage_in_bytes", "5000\n")
    write(tmp_path / "sys/memory" / group / "memory.stat", "cache 900\n")
    found = find(42, CONTAINER, tmp_path / "sys", tmp_path / "proc")
    assert found is not None
    assert found.usage() == Usage(0.25, 5000)


def test_the_second_version(tmp_path: Path) -> None:
    group = f"system.slice/docker-{CONTAINER}.scope"
    write(tmp_path / "proc/42/cgroup", f"0::/{group}\n")
    write(tmp_path / "sys" / group / "cpu.stat", "usage_usec 2500000\nuser_usec 1\nsystem_usec 2\n")
    write(tmp_path / "sys" / group / "memory.current", "7000\n")
    write(tmp_path / "sys" / group / "memory.stat", "anon 6000\ninactive_file 1000\n")
    found = find(42, CONTAINER, tmp_path / "sys", tmp_path / "proc")
    assert found is not None
    assert found.usage() == Usage(2.5, 6000)
    write(tmp_path / "sys" / group / "memory.events", "low 0\noom 3\noom_kill 1\n")
    assert found.memory_kills() == 1
    (tmp_path / "sys" / group / "cpu.stat").unlink()
    with pytest.raises(OSError, match="No such file"):
        found.usage()


def test_a_process_of_another_machine(tmp_path: Path) -> None:
    """The pid that a far engine tells is somebody else's here, or nobody's."""
    write(tmp_path / "proc/42/cgroup", "0::/user.slice/user-0.slice\n4:cpuacct:/\n3:memory:/\n")
    assert find(42, CONTAINER, tmp_path / "sys", tmp_path / "proc") is None
    assert find(43, CONTAINER, tmp_path / "sys", tmp_path / "proc") is None
