import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from runner.interrupts import interrupts_held, terminate_like_interrupt

CHILD = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    # Python calls the handler between two of its own instructions.
    time.sleep(0.01)


@pytest.fixture
def in_the_background() -> Iterator[None]:
    """As a shell script starts what stands before an &."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_interrupt(number: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), terminate_like_interrupt():
        send(number)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.usefixtures("in_the_background")
def test_in_the_background_what_is_started_hears_int_and_the_run_does_not() -> None:
    with terminate_like_interrupt():
        send(signal.SIGINT)
        answer = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=60, check=True)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGTERM)
    assert answer.stdout.strip() == "True"
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_held_comes_at_the_end(number: signal.Signals) -> None:
    done = []

    @interrupts_held()
    def hold() -> None:
        send(number)
        done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        hold()
    assert done == ["all of it"]
