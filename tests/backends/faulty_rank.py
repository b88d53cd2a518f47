"""train.py with a fault, FAULT=<kind>:<rank>:<steps>, after so many steps of one process."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
sys.argv[0] = str(ROOT / "train.py")


def fail(kind: str) -> None:
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "raise":
        raise ValueError("the fault\nin two lines")
    before = signal.getsignal(signal.SIGTERM)  # "stop": the launcher is asked to end the job
    os.kill(os.getppid(), signal.SIGTERM)
    while signal.getsignal(signal.SIGTERM) == before:
        time.sleep(0.01)


def plant(kind: str, after: int) -> None:
    from training.backends.torch import TorchBackend

    original, taken = TorchBackend.train, 0

    def train(self, first, last):
        nonlocal taken
        if taken >= after:
            fail(kind)
        taken += last - first
        original(self, first, last)

    TorchBackend.train = train


if __name__ == "__main__":
    kind, rank, after = os.environ["FAULT"].split(":")
    if os.environ["RANK"] == rank:
        plant(kind, int(after))
    from training.cli.main import main

    main()
