"""Processes that this one starts: how, what becomes of signals, and that none outlives it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: Ask a run to save and stop: Ctrl-C, kill, a closed terminal, and Slurm before its time limit.
STOP_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
    if hasattr(signal, name)  # Windows has the first two
)

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def start_method() -> str:
    """Return how processes are started: forked on Linux, unless there are threads already.

    A lock that another thread holds would stay locked in a forked process.
    """
    threads = "/proc/self/task"
    alone = sys.platform == "linux" and os.path.isdir(threads) and len(os.listdir(threads)) == 1
    return "fork" if alone else "spawn"


@contextmanager
def signals_held() -> Iterator[None]:
    """Keep a signal for the end of the block; processes started in it never see one."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def follow_parent(parent: int) -> None:
    """Leave signals to the process that has started this one, of this id, and end with it."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before this was asked for
        os._exit(1)
