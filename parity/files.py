"""Writing files that are either whole or not there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from parity.protocol import ParityError


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
