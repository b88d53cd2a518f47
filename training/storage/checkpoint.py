"""A run's state, saved so that the run can be resumed.

A checkpoint is a safetensors file. Its metadata holds a JSON record and a SHA-256 sum over tensors
and record; nothing in it can be executed, and no name in it is used as a path. Files may come from
strangers: whatever their bytes, reading them returns their content or raises `CheckpointError`.
At most `MAX_BYTES` are read, and twice that is held while they are verified.

Reading imports neither NumPy nor torch: the configuration inside decides how they start.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import safetensors

from training.storage.files import copy, read_bounded, write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = "checkpoint.safetensors"
PREVIOUS = ".previous"
DAMAGED = ".damaged"
#: What is saved, and what is read: of a file, of its header, and of a tensor's dimensions.
MAX_BYTES = 256 * 2**20
MAX_HEADER_BYTES = 2**20
MAX_DIMENSIONS = 8
#: The element types, by safetensors' names and by NumPy's; and, for these, memoryview's formats.
DTYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8"}
_FORMATS: dict[str, Any] = {"<f4": "f", "<f8": "d", "<i8": "q"}

_TENSOR_NAME = re.compile(r"[A-Za-z0-9_.]{1,200}")

#: A tensor's NumPy type, shape and bytes.
Tensor = tuple[str, tuple[int, ...], bytes | bytearray]


class CheckpointError(ValueError):
    """A file that is damaged, or no checkpoint; the message says which file and why."""


class Checkpoint(NamedTuple):
    """A verified file: its bytes, and its record of plain JSON values."""

    path: Path
    content: bytes
    record: dict[str, Any]

    @property
    def state(self) -> dict[str, NDArray]:
        """Return the run's state as named arrays, all of whose numbers are finite."""
        from safetensors.numpy import load

        return load(self.content)


def save_checkpoint(path: Path, state: Mapping[str, NDArray], record: Mapping[str, Any]) -> None:
    """Save a finite state and a record to path; the file it replaces stays as `<name>.previous`.

    Raises:
        OSError: if it cannot be written, or could not be read again for its size; the older files
            are then still there.
    """
    import numpy as np

    arrays = {name: np.asarray(array, order="C") for name, array in state.items()}
    text = json.dumps(record, allow_nan=False)
    tensors = {n: (a.dtype.str, a.shape, a.tobytes()) for n, a in arrays.items()}
    content = serialize(arrays, {"record": text, "sha256": checksum(tensors, text)})
    header = int.from_bytes(content[:8], "little")
    sizes = {"a header": (header, MAX_HEADER_BYTES), "a file": (len(content), MAX_BYTES)}
    for what, (size, limit) in sizes.items():
        if size > limit:
            raise OSError(errno.EFBIG, f"{what} of {size:,} bytes could not be read", str(path))
    write_atomically(path, content, keep=path.with_name(path.name + PREVIOUS))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint, or raise CheckpointError as `parse` does."""
    try:
        data = read_bounded(path, MAX_BYTES)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from error
    return parse(data, path)


def newest(directory: Path) -> tuple[Checkpoint, str | None]:
    """Return a run's newest good checkpoint, and why the file before it was passed over, if so.

    Raises CheckpointError if the folder holds none.
    """
    current = directory / NAME
    previous = current.with_name(NAME + PREVIOUS)
    if not current.exists() and not previous.exists():
        raise CheckpointError(f"there is no {NAME} in {directory}")
    try:
        return load_checkpoint(current), None
    except CheckpointError as error:
        try:
            return load_checkpoint(previous), str(error)
        except CheckpointError as second:
            raise CheckpointError(f"{error}; {second}") from error


def set_aside(damaged: Path) -> None:
    """Move a damaged checkpoint out of the way, so that no save keeps it as the previous one."""
    if damaged.exists():
        os.replace(damaged, damaged.with_name(damaged.name + DAMAGED))
    copy(damaged.with_name(damaged.name + PREVIOUS), damaged)


def parse(data: bytes, path: Path) -> Checkpoint:
    """Return the checkpoint of which these are the bytes; path is what errors call it.

    Raises CheckpointError if they are not exactly a checkpoint's, or hold an infinite number or one
    that is not a number.
    """
    try:
        metadata, tensors = _deserialize(data)
        if metadata.keys() != {"record", "sha256"}:
            raise CheckpointError(f"{path} is not a checkpoint: it has no record and checksum")
        if metadata["sha256"] != checksum(tensors, metadata["record"]):
            raise CheckpointError(f"{path} is damaged: its content does not match its checksum")
        record = json.loads(metadata["record"], parse_float=_finite, parse_constant=_finite)
        if not isinstance(record, dict):
            raise ValueError("its record is not a JSON object")
        for name, (dtype, _, content) in tensors.items():
            if not all(map(math.isfinite, memoryview(content).cast(_FORMATS[dtype]))):
                words = f"{name} holds a number that is not finite"
                raise CheckpointError(f"{path} cannot be resumed: {words}")
    except CheckpointError:
        raise
    except (ValueError, RecursionError, safetensors.SafetensorError) as error:
        reason = str(error).removeprefix("Error while deserializing: ").partition("\n")[0]
        printable = "".join(filter(str.isprintable, reason))[:200]
        raise CheckpointError(f"{path} is damaged or not a checkpoint ({printable})") from error
    return Checkpoint(path, data, record)


def checksum(tensors: Mapping[str, Tensor], record: str) -> str:
    """Return the SHA-256 sum, in hexadecimal, of a record and of tensors with their names."""
    digest = hashlib.sha256(record.encode())
    for name in sorted(tensors):
        dtype, shape, content = tensors[name]
        digest.update(f"\0{name} {dtype} {shape}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def serialize(arrays: Mapping[str, NDArray], metadata: Mapping[str, str]) -> bytes:
    """Return arrays and metadata as safetensors, equal bytes for equal content.

    The library alone would write the metadata in an order that changes from process to process.
    """
    from safetensors.numpy import save

    content = save(dict(arrays))
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text + content[start:]


def _deserialize(data: bytes) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return a file's metadata and tensors; the library refuses gaps, overlaps and wrong sizes."""
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its first bytes promise a header of {length:,} bytes")
    tensors = {}
    for name, entry in safetensors.deserialize(data):
        dtype, shape = DTYPES.get(entry["dtype"]), tuple(entry["shape"])
        if not _TENSOR_NAME.fullmatch(name):
            raise ValueError(f"it has a tensor named {name[:60]!r}")
        if dtype is None:
            raise ValueError(f"{name} has the element type {entry['dtype']}")
        if len(shape) > MAX_DIMENSIONS or max(shape, default=0) > MAX_BYTES:
            raise ValueError(f"{name} has more dimensions, or larger ones, than any tensor saved")
        tensors[name] = dtype, shape, entry["data"]
    return metadata_of(data), tensors


def metadata_of(data: bytes) -> dict[str, str]:
    """Return the metadata in a safetensors file's header, which the library does not give."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]).get("__metadata__") or {}


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"its record holds {text[:20]}")
    return value
