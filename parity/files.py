"""Files that are either whole or not there, and that may be a stranger's."""

from __future__ import annotations

import lzma
import os
import stat
import struct
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np

from parity.protocol import ParityError

#: What is read of a file, compressed or not, and how many arrays.
MAX_BYTES = 2**30
MAX_ARRAYS = 10_000
#: What zipfile and NumPy raise on files that are damaged, encrypted or shorter than they say.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    EOFError,
    MemoryError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
)


def make_folder(path: Path) -> None:
    """Make a folder unless it is there.

    Raises:
        ParityError: if it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParityError(f"cannot write {path}: {error.strerror}") from error


def check_writable(path: Path) -> None:
    """Try a place before a long computation whose result is to be written there.

    Raises:
        ParityError: if nothing can be written there.
    """
    if path.is_dir():
        raise ParityError(f"cannot write {path}: it is a folder")
    trial = _partial(path)
    try:
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise ParityError(f"cannot write {path}: {error.strerror}") from error


def write(path: Path, content: bytes) -> None:
    """Write a file; an existing one is replaced only by a complete one.

    Raises:
        ParityError: if it cannot be written.
    """
    partial = _partial(path)
    try:
        try:
            partial.write_bytes(content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ParityError(f"cannot write {path}: {error.strerror}") from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` file; whatever its bytes, nothing in it is executed.

    At most `MAX_BYTES` are read and, twice as many, held once they are decompressed.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no such file, is damaged, or is too large.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a device may have no end
        raise ValueError("it is not a regular file")
    too_large = f"it holds more than the limit of {MAX_BYTES:,} bytes"
    if status.st_size > MAX_BYTES:
        raise ValueError(too_large)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > MAX_BYTES:
                raise ValueError(too_large)
            if len(members) > MAX_ARRAYS:
                raise ValueError(f"it holds more than {MAX_ARRAYS:,} arrays")
            return {m.filename.removesuffix(".npy"): _array(archive.read(m)) for m in members}
    except _DAMAGE as error:
        raise ValueError(str(error)) from error


def _array(data: bytes) -> np.ndarray:
    """Return the array of numbers or text of an ``.npy`` file's bytes."""
    content = BytesIO(data)
    array = np.lib.format.read_array(content, allow_pickle=False)
    if array.dtype.kind not in "fiubU":
        raise ValueError(f"it has an array of {array.dtype}")
    if content.read(1):
        raise ValueError(f"it has an array of shape {str(array.shape)[:60]} and other data")
    return array


@contextmanager
def standard_output() -> Iterator[None]:
    """Write out what was printed by the block's end.

    Raises:
        ParityError: if standard output cannot be written: a full disk, a closed pipe.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:
            raise
        # The interpreter writes what is left once more at its end, and must find a place for it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise ParityError(f"cannot write standard output: {error.strerror}") from error


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")
