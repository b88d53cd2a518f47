"""Reads and verifies checkpoint files with the standard library alone.

A checkpoint is a safetensors file: eight bytes with the length of a JSON header, the header, the
tensors' bytes. The header's metadata holds a JSON record and a SHA-256 sum over tensors and record.
Files may come from strangers: whatever their bytes, `parse` returns their content or raises
`CheckpointError`. Nothing in a file is executed, and no name in it is used as a path. At most
`MAX_BYTES` are read, and a header takes at most 64 times its size, so `MAX_BYTES` + 64 MiB bounds
the memory. Neither NumPy nor torch is imported here: a resumed run's configuration decides how
they start.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

NAME = "checkpoint.safetensors"
PREVIOUS = ".previous"
MAX_BYTES = 256 * 2**20
MAX_HEADER_BYTES = 2**20
MAX_DIMENSIONS = 8
#: safetensors' names of the element types, NumPy's, and bytes per element.
DTYPES = {"F32": ("<f4", 4), "F64": ("<f8", 8), "I64": ("<i8", 8)}

_TENSOR_NAME = re.compile(r"[A-Za-z0-9_.]{1,200}")


class CheckpointError(ValueError):
    """A file that is damaged, or no checkpoint; the message says which file and why."""


class RawTensor(NamedTuple):
    """A tensor's NumPy type, shape and bytes."""

    dtype: str
    shape: tuple[int, ...]
    content: memoryview | bytes


class Content(NamedTuple):
    """A verified file: its tensors by name, and its record of plain JSON values."""

    path: Path
    tensors: dict[str, RawTensor]
    record: dict[str, Any]


def read(path: Path) -> Content:
    """Read and verify a checkpoint.

    Raises:
        CheckpointError: if the file cannot be read, is damaged, or is no checkpoint.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for a writer
            raise CheckpointError(f"{path} is not a regular file")
        if status.st_size > MAX_BYTES:
            raise CheckpointError(
                f"{path} has {status.st_size:,} bytes, more than the {MAX_BYTES:,} that are read"
            )
        with open(path, "rb") as file:
            data = file.read(status.st_size + 1)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error
    if len(data) != status.st_size:
        raise CheckpointError(f"{path} changed while it was read")
    return parse(data, path)


def newest(directory: Path) -> tuple[Content, str | None]:
    """Return a run's newest good checkpoint, and why the file before it was passed over, if so.

    Raises:
        CheckpointError: if the folder holds no good checkpoint.
    """
    current = directory / NAME
    previous = current.with_name(NAME + PREVIOUS)
    if not current.exists() and not previous.exists():
        raise CheckpointError(f"there is no {NAME} in {directory}")
    try:
        return read(current), None
    except CheckpointError as error:
        try:
            return read(previous), str(error)
        except CheckpointError as second:
            raise CheckpointError(f"{error}; {second}") from error


def parse(data: bytes, path: Path) -> Content:
    """Return the content of a checkpoint's bytes; path is what errors call it.

    Raises:
        CheckpointError: whenever the bytes are not exactly a checkpoint's.
    """
    try:
        return _parse(data, path)
    except CheckpointError:
        raise
    except (ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise CheckpointError(f"{path} is damaged or is no checkpoint ({reason})") from error


def checksum(tensors: Mapping[str, RawTensor], record: str) -> str:
    """Return the SHA-256 sum, in hexadecimal, of a record and of tensors with their names."""
    digest = hashlib.sha256(record.encode())
    for name in sorted(tensors):
        dtype, shape, content = tensors[name]
        digest.update(f"\0{name} {dtype} {shape}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _parse(data: bytes, path: Path) -> Content:
    if len(data) < 8:
        raise ValueError(f"it has {len(data)} bytes")
    length = int.from_bytes(data[:8], "little")
    if length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise ValueError(f"its first bytes promise a header of {length:,} bytes")
    header = _object(data[8 : 8 + length].decode(), "its header")
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or metadata.keys() != {"record", "sha256"}:
        raise CheckpointError(f"{path} is no checkpoint: its header has no record and checksum")
    tensors = _tensors(header, memoryview(data)[8 + length :])
    text = metadata["record"]
    if not isinstance(text, str) or metadata["sha256"] != checksum(tensors, text):
        raise CheckpointError(f"{path} is damaged: its content does not have its checksum")
    return Content(path, tensors, _object(text, "its record"))


def _tensors(header: dict[str, Any], content: memoryview) -> dict[str, RawTensor]:
    """Return the header's tensors, which must fill the content without gap or overlap."""
    spans = []
    for name, entry in header.items():
        if not _TENSOR_NAME.fullmatch(name):
            raise ValueError(f"it has a tensor named {name[:60]!r}")
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"{name} is not described as a tensor")
        shape, offsets = _sizes(entry["shape"], name), _sizes(entry["data_offsets"], name)
        if len(shape) > MAX_DIMENSIONS or len(offsets) != 2:
            raise ValueError(f"{name} has {len(shape)} dimensions and {len(offsets)} offsets")
        kind = entry["dtype"]
        if not isinstance(kind, str) or kind not in DTYPES:
            raise ValueError(f"{name} has the element type {str(kind)[:20]!r}")
        dtype, size = DTYPES[kind]
        if offsets[1] - offsets[0] != size * math.prod(shape):
            raise ValueError(f"{name}'s shape and offsets disagree")
        spans.append((*offsets, name, dtype, shape))
    tensors, position = {}, 0
    for first, last, name, dtype, shape in sorted(spans):
        if first != position or last > len(content):
            raise ValueError(f"{name} does not stand where it should")
        tensors[name] = RawTensor(dtype, shape, content[first:last])
        position = last
    if position != len(content):
        raise ValueError(f"{len(content) - position:,} bytes too many")
    return tensors


def _sizes(value: Any, name: str) -> tuple[int, ...]:
    whole = isinstance(value, list) and all(type(v) is int and 0 <= v <= MAX_BYTES for v in value)
    if not whole:
        raise ValueError(f"{name} has sizes that are none")
    return tuple(value)


def _object(text: str, what: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError(f"{what} gives a name twice")
        return found

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{what} holds {constant}")

    value = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no JSON object")
    return value
