"""Files that are either whole or not there, written beside and renamed; and those of strangers."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

_LEFTOVER = re.compile(r"\.[A-Za-z0-9_.]+\.[0-9a-f]+\.(tmp|kept)")


def write_atomically(path: Path, content: bytes, keep: Path | None = None) -> None:
    """Write a file so that a reader, at any moment and after any crash, finds old or new, whole.

    The file that is replaced, if there is one, lives on at keep. Raises OSError, with path as its
    filename, if it cannot be written; an older file is then still there, and so is the one at keep.
    """
    temporary = _beside(path, "tmp")
    try:
        try:
            with temporary.open("xb") as file:  # a planted file or link is not written through
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


def read_bounded(path: str | os.PathLike[str], limit: int) -> bytes:
    """Return the bytes of a regular file that may be a stranger's.

    Raises ValueError, with the reason, if it is no regular file, has more bytes than the limit,
    changes while it is read, or cannot be read.
    """
    if "\0" in os.fspath(path):
        raise ValueError("it cannot be a path (embedded null byte)")
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for a writer
            raise ValueError("it is not a regular file")
        if (size := status.st_size) > limit:
            raise ValueError(f"it has {size:,} bytes, more than the {limit:,} that are read")
        with open(path, "rb") as file:
            data = file.read(status.st_size + 1)
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror or error})") from error
    if len(data) != status.st_size:
        raise ValueError("it changed while it was read")
    return data


def copy(source: Path, target: Path) -> None:
    """Copy a file, atomically too."""
    write_atomically(target, source.read_bytes())


def remove_leftovers(directory: Path) -> None:
    """Delete what processes that were killed while writing left in a folder."""
    for path in directory.iterdir():
        if is_leftover(path.name):
            path.unlink(missing_ok=True)


def is_leftover(name: str) -> bool:
    """Return whether a file of that name is what a process left that was killed while writing."""
    return _LEFTOVER.fullmatch(name) is not None


def _beside(path: Path, kind: str) -> Path:
    """Return a name in the same folder that nobody can foresee."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.{kind}")


def _keep(path: Path, kept: Path) -> None:
    """Give the file a second name before its own is taken: at no moment is there none."""
    second = _beside(path, "kept")
    try:
        os.link(path, second)
    except OSError:  # a file system without hard links
        copy(path, kept)
        return
    os.replace(second, kept)


def _flush_directory(directory: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
