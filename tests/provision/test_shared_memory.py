"""What a killed server leaves in the machine's shared memory: its own is removed, a stranger's is not."""

import array
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runner import waiting
from runner.provision import journal as journals
from runner.provision import shared_memory
from runner.provision.journal import read_journal
from runner.provision.leftovers import clean
from runner.provision.native import NativeProvider
from runner.provision.native_service import NativeService
from runner.provision.shared_memory import CONTROL_MAGIC, FILES, Segment, held_by, remove
from runner.stacks.databases.postgres import Postgres, PostgresSpec

MAPPER = """
import mmap, sys, time
with open(sys.argv[1], "r+b") as file:
    mapped = mmap.mmap(file.fileno(), 0)
print("mapped", flush=True)
time.sleep(120)
"""


@pytest.fixture
def numbers() -> Iterator[list[int]]:
    """Numbers of files in /dev/shm that nobody has; whatever a test made of them goes."""
    draw = random.SystemRandom()
    found = [draw.randrange(2**30, 2**31) for _ in range(4)]
    yield found
    for number in found:
        path_of(number).unlink(missing_ok=True)


def path_of(number: int) -> Path:
    return FILES / f"PostgreSQL.{number}"


def make(number: int, *words: int) -> Path:
    path = path_of(number)
    path.write_bytes(array.array("I", words or (0,)).tobytes() + b"\0" * 4096)
    return path


def mapped_by_a_process(path: Path) -> list[Segment]:
    """What a process has that maps the file; it is killed before this returns."""
    process = subprocess.Popen([sys.executable, "-c", MAPPER, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"mapped\n"
        found = held_by(process.pid)
    process.kill()
    process.wait()
    return found


def test_the_list_goes_with_what_is_listed_and_nothing_else(numbers: list[int]) -> None:
    control, listed, stranger, _ = numbers
    path = make(control, CONTROL_MAGIC, 1, 16, listed, 1)
    others = [make(listed), make(stranger)]
    (segment,) = mapped_by_a_process(path)
    assert segment.name == str(path)
    assert remove([segment]) == []
    assert [one.exists() for one in (path, *others)] == [False, False, True]
    assert remove([segment]) == [], "it is gone already"


def test_a_file_that_is_no_list_goes_alone(numbers: list[int]) -> None:
    path = make(numbers[0], 0, numbers[1])
    other = make(numbers[1])
    assert remove(mapped_by_a_process(path)) == []
    assert (path.exists(), other.exists()) == (False, True)


def test_a_later_file_of_the_same_name_is_somebody_elses(numbers: list[int], tmp_path: Path) -> None:
    path = make(numbers[0])
    (segment,) = mapped_by_a_process(path)
    path.rename(path_of(numbers[1]))  # so that its inode is not given away again
    make(numbers[0])
    assert remove([segment]) == []
    assert path.exists()


def test_a_system_v_segment_is_known_by_who_made_it_and_when(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listing = tmp_path / "shm"
    listing.write_text("  key shmid perms size cpid lpid nattch ctime\n  5 98307 600 56 32215 1 0 1795303672\n")
    monkeypatch.setattr(shared_memory, "_SYSTEM_V", listing)
    assert held_by(32215) == [Segment("98307", "32215@1795303672")]
    assert not Segment("98307", "32215@1795303673").exists
    assert not Segment("98308", "32215@1795303672").exists


def test_a_process_without_any(tmp_path: Path) -> None:
    assert [segment for segment in held_by(os.getpid()) if segment.name.startswith(str(FILES / "PostgreSQL"))] == []
    assert held_by(2**22 + 1) == []


@pytest.fixture
def killed_postgres(tmp_path: Path) -> Iterator[tuple[NativeProvider, list[Segment]]]:
    """A server that was killed, and what it had in shared memory."""
    with closing(NativeProvider()) as provider:
        database = Postgres(PostgresSpec())
        database.start(provider, "pg", tmp_path)
        assert isinstance(database.service, NativeService)
        had = list(database.service.shared)
        assert {segment.name.startswith("/dev/shm/PostgreSQL.") for segment in had} == {True, False}, "one of each kind"
        os.kill(database.service.pid, signal.SIGKILL)
        assert waiting.wait_for(lambda: not database.service.alive() or None, 30)
        database.close()
        assert all(segment.exists for segment in had)
        yield provider, had


@pytest.mark.server
def test_a_killed_servers_own_goes_when_it_is_stopped(killed_postgres: tuple[NativeProvider, list[Segment]]) -> None:
    provider, had = killed_postgres
    provider.close()
    assert not any(segment.exists for segment in had)


@pytest.mark.server
def test_a_killed_servers_own_goes_when_somebody_cleans_up(
    killed_postgres: tuple[NativeProvider, list[Segment]],
) -> None:
    """By the journal alone, as the guard and the next command do it."""
    provider, had = killed_postgres
    recorded = read_journal(provider.journal.path)
    assert recorded.shared == had
    cleaned = clean(recorded)
    assert cleaned.left == ()
    assert not any(segment.exists for segment in had)
    assert provider.journal.path not in journals.journals()
