"""train.py with what the environment asks for.

FAULT=<kind>:<rank>:<steps>: a fault, after so many steps of one rank.
FEW=<training>:<test>: a run on so many images, and without pictures.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def fail(kind: str) -> None:
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "raise":
        raise ValueError("the fault\nin two lines")
    if kind == "slow":  # each step from then on
        return time.sleep(0.2)
    before = signal.getsignal(signal.SIGTERM)
    if kind == "interrupt":  # Ctrl-C, which every process of the terminal gets
        os.killpg(0, signal.SIGINT)
    else:  # "stop": the launcher is asked to end the job
        os.kill(os.getppid(), signal.SIGTERM)
    while signal.getsignal(signal.SIGTERM) == before:
        time.sleep(0.01)


def arrange() -> None:
    """Have this process do as the environment says."""
    if few := os.environ.get("FEW"):
        import pytest

        from tests.support import shorten

        shorten(pytest.MonkeyPatch(), *map(int, few.split(":")))
    if fault := os.environ.get("FAULT"):
        _plant(*fault.split(":"))


def _plant(kind: str, rank: str, after: str) -> None:
    """Have this process fail if it is that rank."""
    if "backend=numpy" in sys.argv:
        from training.backends.numpy import NumpyBackend as Backend
    else:
        from training.backends.torch import TorchBackend as Backend

    original, taken = Backend.train, 0

    def train(self, first, last):
        nonlocal taken
        if taken >= int(after) and self._ranks.rank == int(rank):
            fail(kind)
        taken += last - first
        original(self, first, last)

    Backend.train = train


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.argv[0] = str(ROOT / "train.py")
    arrange()
    from training.cli.main import main

    main()
