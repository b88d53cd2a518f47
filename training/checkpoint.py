"""Files that are either whole or not there: saved beside, flushed, then renamed into place.

A checkpoint is one safetensors file: the backend-independent state as tensors, and a JSON record
with a checksum over tensors and record in the header. Nothing in it can execute code.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from training import checkpoint_file
from training.checkpoint_file import PREVIOUS, RawTensor, checksum

DAMAGED = ".damaged"

_LEFTOVER = re.compile(r"\.[A-Za-z0-9_.]+\.\d+\.(tmp|kept)")


class Checkpoint(NamedTuple):
    """What a file holds: named arrays, read-only, and a record of plain JSON values."""

    state: dict[str, NDArray]
    record: dict[str, Any]


def write_atomically(path: Path, content: bytes, keep: Path | None = None) -> None:
    """Write a file so that a reader, at any moment and after any crash, finds old or new, whole.

    Args:
        path: the file.
        content: its new bytes.
        keep: where the file that is replaced, if there is one, lives on.

    Raises:
        OSError: if it cannot be written, with path as its filename; an older file is then still
            there, and so is the one at keep.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if keep is not None and path.exists():
                _keep(path, keep)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _flush_directory(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


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
    _copy(damaged.with_name(damaged.name + PREVIOUS), damaged)


def remove_leftovers(directory: Path) -> list[Path]:
    """Delete what processes that were killed while saving left behind; return what was deleted."""
    found = [path for path in directory.iterdir() if _LEFTOVER.fullmatch(path.name)]
    for path in found:
        path.unlink(missing_ok=True)
    return found


def _keep(path: Path, kept: Path) -> None:
    """Give the file a second name before its own is taken: at no moment is there none."""
    second = path.with_name(f".{path.name}.{os.getpid()}.kept")
    second.unlink(missing_ok=True)
    try:
        os.link(path, second)
    except OSError:  # a file system without hard links
        _copy(path, kept)
        return
    os.replace(second, kept)


def _copy(source: Path, target: Path) -> None:
    write_atomically(target, source.read_bytes())


def _flush_directory(directory: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
