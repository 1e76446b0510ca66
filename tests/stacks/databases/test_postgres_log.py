"""The connection log as a book, line by line."""

from pathlib import Path

import pytest

from runner.stacks.databases.postgres_log import ConnectionLog


def line(pid: int, text: str, *, code: str = "00000", database: str = "shop", port: int = 40_000) -> str:
    remote = f"127.0.0.1({port})"
    return f"connbench\t1795262003.083\t{pid}\t{code}\t{remote}\tuser\t{database}\t{text}\n"


def opened(pid: int, **more: object) -> str:
    return line(pid, "LOG:  connection authorized: user=user database=shop", **more)  # type: ignore[arg-type]


def gone(pid: int, **more: object) -> str:
    return line(pid, "LOG:  disconnection: session time: 0:00:00.005 user=user", **more)  # type: ignore[arg-type]


def refused(pid: int) -> str:
    return line(pid, "FATAL:  sorry, too many clients already", code="53300")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.log"


def test_counts_by_database_and_keeps_the_order(path: Path) -> None:
    path.write_text(
        "a line of someone else's\n"
        + opened(1, port=41_000)
        + opened(2, port=41_001)
        + opened(9, database="other")
        + gone(1)
        + opened(3, port=41_002)
        + gone(2)
    )
    log = ConnectionLog(path)
    log.read()
    tally = log.tally("shop")
    assert (tally.opened, tally.refused, len(tally.live)) == (3, 0, 1)
    assert tally.ports == [41_000, 41_001, 41_002]
    assert tally.peak(since=0, open_then=0) == 2
    assert tally.peak(since=3, open_then=1) == 2
    assert log.tally("other").opened == 1


def test_refused_at_the_door_and_refused_after_the_password(path: Path) -> None:
    path.write_text(opened(1) + refused(2) + opened(3) + refused(3))
    log = ConnectionLog(path)
    log.read()
    tally = log.tally("shop")
    assert (tally.opened, tally.refused, len(tally.live)) == (1, 2, 1)
    assert tally.peak(since=0, open_then=0) == 1


def test_a_line_that_is_being_written_is_left_for_later(path: Path) -> None:
    whole = opened(1) + opened(2)
    path.write_text(whole[:-20])
    log = ConnectionLog(path)
    log.read()
    assert log.tally("shop").opened == 1
    path.write_text(whole)
    log.read()
    log.read()
    assert log.tally("shop").opened == 2


def test_a_name_used_again_starts_anew(path: Path) -> None:
    path.write_text(opened(1))
    log = ConnectionLog(path)
    log.read()
    log.forget("shop")
    assert log.tally("shop").opened == 0


def test_no_session_outlives_the_server(path: Path) -> None:
    path.write_text(opened(1) + opened(2) + gone(1))
    log = ConnectionLog(path)
    log.server_stopped()
    tally = log.tally("shop")
    assert (tally.opened, tally.live, sum(tally.changes)) == (2, {}, 0)
    with path.open("a") as more:
        more.write(opened(2))
    log.read()
    assert (tally.opened, len(tally.live), tally.peak(0, 0)) == (3, 1, 2)
