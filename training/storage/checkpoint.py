"""A run's state, saved so that it can be taken up again.

A checkpoint is one safetensors file: the backend-independent state as tensors, and a JSON record
with a checksum over tensors and record in the header. Nothing in it can execute code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from training.storage import checkpoint_file
from training.storage.checkpoint_file import PREVIOUS, RawTensor, checksum
from training.storage.files import copy, write_atomically

DAMAGED = ".damaged"


class Checkpoint(NamedTuple):
    """What a file holds: named arrays, read-only, and a record of plain JSON values."""

    state: dict[str, NDArray]
    record: dict[str, Any]


def save_checkpoint(path: Path, state: Mapping[str, NDArray], record: Mapping[str, Any]) -> None:
    """Save state and record to path; the file it replaces stays as `<name>.previous`.

    Raises:
        OSError: if it cannot be written; the older files are then still there.
        ValueError: if the record holds a number that is not finite.
    """
    arrays = {name: np.asarray(array, order="C") for name, array in state.items()}
    text = json.dumps(record, sort_keys=True, allow_nan=False)
    raw = {n: RawTensor(a.dtype.str, a.shape, a.tobytes()) for n, a in arrays.items()}
    content = save(arrays, {"record": text, "sha256": checksum(raw, text)})
    write_atomically(path, content, keep=path.with_name(path.name + PREVIOUS))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint.

    Raises:
        CheckpointError: if the file cannot be read, is damaged or is no checkpoint.
    """
    return decode(checkpoint_file.read(path))


def decode(content: checkpoint_file.Content) -> Checkpoint:
    """Return a verified file's tensors as arrays over the bytes that were read."""
    arrays = {
        name: np.frombuffer(tensor.content, tensor.dtype).reshape(tensor.shape)
        for name, tensor in content.tensors.items()
    }
    return Checkpoint(arrays, content.record)


def set_aside(damaged: Path) -> None:
    """Move a damaged checkpoint out of the way, so that no save keeps it as the previous one."""
    if damaged.exists():
        os.replace(damaged, damaged.with_name(damaged.name + DAMAGED))
    copy(damaged.with_name(damaged.name + PREVIOUS), damaged)
