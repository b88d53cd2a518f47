"""Files that are either whole or not there: saved beside, flushed, then renamed into place.

A checkpoint is one safetensors file: the backend-independent state as tensors, and a JSON record
with a checksum over tensors and record in the header. Nothing in it can execute code.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

PREVIOUS = ".previous"


class Checkpoint(NamedTuple):
    """What a file holds: named arrays, and a record of plain JSON values."""

    state: dict[str, NDArray]
    record: dict[str, Any]


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, at any moment and after any crash, finds old or new, whole.

    Raises:
        OSError: if it cannot be written; an older file is then still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _flush_directory(path.parent)


def save_checkpoint(path: Path, state: Mapping[str, NDArray], record: Mapping[str, Any]) -> None:
    """Save state and record to path; the file it replaces stays as `<name>.previous`.

    Raises:
        OSError: if it cannot be written; the older file is then still at path.
    """
    arrays = {name: np.asarray(array, order="C") for name, array in state.items()}
    text = json.dumps(record, sort_keys=True)
    metadata = {"record": text, "sha256": _checksum(arrays, text)}
    content = save(arrays, metadata)
    if path.exists():
        _keep(path)
    write_atomically(path, content)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint.

    Raises:
        ValueError: if the file is damaged or is no checkpoint; the message says which file.
        OSError: if it cannot be read.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or is no checkpoint ({error})") from error
    if metadata.keys() != {"record", "sha256"}:
        raise ValueError(f"{path} is no checkpoint: its header has no record and checksum")
    if metadata["sha256"] != _checksum(arrays, metadata["record"]):
        raise ValueError(f"{path} is damaged: its content does not have the checksum it was given")
    return Checkpoint(arrays, json.loads(metadata["record"]))


def _checksum(arrays: Mapping[str, NDArray], record: str) -> str:
    digest = hashlib.sha256(record.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\0{name} {array.dtype.str} {array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _keep(path: Path) -> None:
    """Give the file a second name before its own is taken: at no moment is there none."""
    second = path.with_name(f".{path.name}.{os.getpid()}.kept")
    second.unlink(missing_ok=True)
    os.link(path, second)
    os.replace(second, path.with_name(path.name + PREVIOUS))


def _flush_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
