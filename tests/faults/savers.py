"""A process that saves without pause, for tests that kill it."""

from __future__ import annotations

import os
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from training.storage.checkpoint import save_checkpoint
from training.storage.files import remove_leftovers


def state_of(number: int) -> dict[str, np.ndarray]:
    """The state that belongs to the save of this number."""
    return {
        "model.a": np.full((300, 500), number, np.float32),
        "optimizer.step": np.asarray(number),
    }


def save_for_ever(directory: Path, number: int, channel: Connection) -> None:
    """Save, and tell the number of each save that is complete."""
    os.setpgid(0, 0)
    remove_leftovers(directory)
    while True:
        number += 1
        save_checkpoint(directory / "checkpoint.safetensors", state_of(number), {"number": number})
        channel.send(number)
