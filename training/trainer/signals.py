"""SIGINT and its like ask a run to stop after its step; another one ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.sharedctypes import RawValue
from types import FrameType

from training.child_processes import STOP_SIGNALS


class StopRequest:
    """The first signal that came, if any; processes started with it see it, too."""

    def __init__(self) -> None:
        self._number = RawValue("i", 0)

    @property
    def number(self) -> int:
        """Return the signal's number; 0 if none has come."""
        return self._number.value

    @property
    def name(self) -> str:
        """Return the signal's name, for example SIGINT."""
        return signal.Signals(self.number).name if self.number else "a signal"

    def receive(self, number: int, _: FrameType | None = None) -> None:
        """Note the signal, and let the system end the process at the next one.

        The system's own way needs no Python, so it works in the middle of a long computation; the
        files of a run are replaced whole, so it does no harm in the middle of a save.
        """
        self._number.value = number
        for each in STOP_SIGNALS:
            if signal.getsignal(each) == self.receive:
                signal.signal(each, signal.SIG_DFL)
        with suppress(OSError):  # print cannot be used inside a handler
            text = f"\n{self.name}: saving after this step; repeat to quit at once\n"
            os.write(2, text.encode())


@contextmanager
def listen(rank: int = 0, request: StopRequest | None = None) -> Iterator[StopRequest]:
    """Watch for the signals within the block, except those the process was told to ignore.

    A signal to a job of several ranks is rank 0's to answer; the others ignore it, since saving
    takes all of them. Where another process is to know of a signal, or may get it, its request is
    given.
    """
    request = request or StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    watched = [n for n, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    for number in watched:
        signal.signal(number, signal.SIG_IGN if rank else request.receive)
    try:
        yield request
    finally:
        for number in watched:
            signal.signal(number, before[number])
