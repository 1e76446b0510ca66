"""The recorder writes what happened, and the reader gets the same back."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from runner.errors import StackError
from runner.load.recorder import Recorder
from runner.load.records import read_records

FULL = "app;dur=3.250, pool;dur=0.500, connect;dur=1.125, sql;dur=0.750, opened;desc=1, worker;desc=41.7001"


def answer(status: int = 200, header: str | None = FULL, text: str = "") -> SimpleNamespace:
    return SimpleNamespace(status_code=status, headers={"server-timing": header} if header else {}, text=text)


def send(
    recorder: Recorder, name: str = "/x/", *, response: object = None, exception: object = None, ms: float = 5.0
) -> None:
    recorder.on_request("GET", name, ms, response or answer(), exception)


def test_round_trip(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "requests.raw")
    send(recorder, "/a/", ms=12.5)
    recorder.window = 3
    send(recorder, "/b/", response=answer(500, text="Server Error"), ms=1.0)
    send(recorder, "/b/", response=SimpleNamespace(status_code=0, headers=None), exception=ConnectionRefusedError("no"))
    recorder.flush()

    frame, examples = read_records([tmp_path / "requests.raw"], clock_zero=0.0)

    assert frame["endpoint"].tolist() == ["GET /a/", "GET /b/", "GET /b/"]
    assert frame["window"].tolist() == [-1, 3, 3]
    assert frame["status"].tolist() == [200, 500, 0]
    assert frame["error"].tolist() == ["", "HTTP 500", "ConnectionRefusedError"]
    assert frame["service_ms"].tolist() == [12.5, 1.0, 5.0]
    assert frame["app_ms"].tolist() == [3.25, 3.25, -1.0]
    assert frame["pool_ms"].tolist() == [0.5, 0.5, -1.0]
    assert frame["connect_ms"].tolist() == [1.125, 1.125, -1.0]
    assert frame["sql_ms"].tolist() == [0.75, 0.75, -1.0]
    assert frame["opened"].tolist() == [1, 1, -1]
    assert frame["worker"].tolist() == [41, 41, 0]
    assert (frame["offset"].diff().dropna() > -0.02).all()
    assert "Server Error" in examples["HTTP 500"]
    assert recorder.failed == 2
    assert recorder.faults == []


def test_threads_are_numbered_within_their_worker(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "requests.raw")
    for worker, thread in ((1, 900), (1, 901), (2, 900), (1, 900)):
        send(recorder, response=answer(header=f"app;dur=1.000, worker;desc={worker}.{thread}"))
    recorder.flush()
    frame, _ = read_records([tmp_path / "requests.raw"], clock_zero=0.0)
    assert frame["thread"].tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(("header", "app_ms"), [("app;dur=2.500, worker;desc=41.7", 2.5), ("worker;desc=41.7", -1.0)])
def test_an_app_may_say_less(header: str, app_ms: float, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "requests.raw")
    send(recorder, response=answer(header=header))
    recorder.flush()
    frame, _ = read_records([tmp_path / "requests.raw"], clock_zero=0.0)
    assert (frame["worker"].tolist(), frame["app_ms"].tolist()) == ([41], [app_ms])
    assert (frame["sql_ms"].tolist(), frame["opened"].tolist()) == ([-1.0], [-1])


def test_a_fault_of_the_listener_is_kept(tmp_path: Path) -> None:
    """Locust swallows a listener's exceptions: the recorder must not lose a request in silence."""
    recorder = Recorder(tmp_path / "requests.raw")
    send(recorder, response=answer(header="something else"))
    assert recorder.recorded == 0
    assert "ValueError" in " ".join(recorder.faults)


def test_a_torn_record_is_refused(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "requests.raw")
    send(recorder)
    recorder.flush()
    path = tmp_path / "requests.raw"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StackError, match="middle of a record"):
        read_records([path], clock_zero=0.0)


def test_no_timing_header(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "requests.raw")
    send(recorder, response=answer(header=None))
    recorder.flush()
    frame, _ = read_records([tmp_path / "requests.raw"], clock_zero=0.0)
    assert (frame["worker"].tolist(), frame["app_ms"].tolist()) == ([0], [-1.0])
