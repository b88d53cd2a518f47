"""Reader for IDX files of bytes, the format of MNIST, plain or gzip-compressed.

An IDX file is two zero bytes, a type code, the number of dimensions, each size as a big-endian
unsigned 32-bit integer, then the elements in C order; MNIST's are all unsigned bytes, code 8
(Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits").

Files may come from strangers. Whatever their bytes, the reader returns an array or raises
`IdxError`; it holds at most `MAX_BYTES` of file and `MAX_BYTES` of content at once, and it compares
what the header promises with this limit before it allocates anything.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from training.storage.files import read_bounded

MAX_BYTES = 64 * 2**20
MAX_DIMENSIONS = 8
UNSIGNED_BYTES = 8
GZIP_MAGIC = b"\x1f\x8b"

_LONGEST_HEADER = 4 + 4 * MAX_DIMENSIONS


class IdxError(ValueError):
    """A file that cannot be read as IDX; the message is the reason."""


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return a regular file's bytes, at most `MAX_BYTES` of them, or raise `IdxError`."""
    try:
        return read_bounded(path, MAX_BYTES)
    except ValueError as error:
        raise IdxError(str(error)) from error


def decode(data: bytes) -> memoryview:
    """Return an IDX file's plain bytes, header included, from its compressed or plain ones.

    As gzip itself does, zeros after the compressed data are passed over. Raises IdxError if the
    bytes are not exactly as many as the header promises.
    """
    if not data.startswith(GZIP_MAGIC):
        total = _total_bytes(data[:_LONGEST_HEADER])
        if len(data) != total:
            short = " (cut short)" if len(data) < total else ""
            raise IdxError(f"it has {len(data):,} bytes where its header promises {total:,}{short}")
        return memoryview(data)
    try:
        with gzip.GzipFile(fileobj=BytesIO(data)) as file:
            total = _total_bytes(file.read(_LONGEST_HEADER))
            file.seek(0)
            content = file.read(total + 1)  # enough to recognise a file that expands further
    except EOFError:
        raise IdxError("its gzip data is cut short") from None
    except (OSError, zlib.error) as error:
        raise IdxError(f"its gzip data is damaged ({error})") from error
    if len(content) > total:
        raise IdxError(f"it holds more than the {total:,} bytes its header promises")
    if len(content) < total:
        raise IdxError(f"it holds {len(content):,} bytes where its header promises {total:,}")
    return memoryview(content)


def parse(content: memoryview) -> NDArray[np.uint8]:
    """Return the array held by `decode`'s result, read-only."""
    shape = _shape(bytes(content[:_LONGEST_HEADER]))
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def _total_bytes(start: bytes) -> int:
    """Return the size, header included, that the header promises, after checking the limit."""
    shape = _shape(start)
    total = 4 + 4 * len(shape) + math.prod(shape)
    if total > MAX_BYTES:
        raise IdxError(f"its header promises {total:,} bytes, over the limit of {MAX_BYTES:,}")
    return total


def _shape(start: bytes) -> tuple[int, ...]:
    """Return the shape from a file's first bytes."""
    if not start:
        raise IdxError("it is empty")
    if start.lstrip()[:1] == b"<":
        raise IdxError("it is an HTML or XML page and not IDX data")
    if len(start) < 4 or start[:3] != bytes((0, 0, UNSIGNED_BYTES)):
        raise IdxError(f"it starts with {start[:4].hex(' ')}, no IDX magic number of bytes")
    dimensions = start[3]
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise IdxError(f"its header gives {dimensions} dimensions, not 1 to {MAX_DIMENSIONS}")
    if len(start) < 4 + 4 * dimensions:
        raise IdxError("it ends within its header")
    shape = tuple(int(size) for size in np.frombuffer(start, ">u4", dimensions, 4))
    if 0 in shape:
        raise IdxError(f"its header gives the sizes {shape}, so it holds nothing")
    return shape
