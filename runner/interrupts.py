"""Ctrl-C and SIGTERM: one way to stop a run, and stretches in which it has to wait."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def terminate_like_interrupt() -> Iterator[None]:
    """CI cancels with SIGTERM; it is to end as orderly as a Ctrl-C.

    A script's background commands have SIGINT ignored, and so would everything that they start, which is stopped with
    SIGINT here. It goes on being of no effect on this process, but as a handler, which no child inherits.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def overhear(_number: int, _frame: FrameType | None) -> None:
        pass

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, interrupt)}
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, overhear)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Lets what is inside come to its end; an interrupt that came meanwhile is raised then.

    Signals reach the main thread alone: elsewhere there is nothing to hold.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt
