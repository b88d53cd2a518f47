"""Downloading files: bounded in time and size, verified, all of them or none.

Nothing is written before every file asked for is there and has its MD5 sum; each is then written
atomically. So an interruption leaves nothing that looks whole and is not, and processes that
download at the same time only replace equal files.
"""

from __future__ import annotations

import hashlib
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from training.storage.files import write_atomically

_CHUNK = 2**16


class RemoteFile(NamedTuple):
    """A file as every mirror has it: its name, bytes, and MD5 sum."""

    name: str
    size: int
    md5: str


class Limits(NamedTuple):
    """Seconds without progress after which a mirror is given up, and seconds for everything."""

    silence: float
    total: float


PATIENT = Limits(silence=15, total=600)
QUICK = Limits(silence=3, total=60)


class DownloadError(Exception):
    """No mirror gave the files; the text says what each answered."""


class _MirrorError(Exception):
    """One mirror failed on one file."""


def fetch(
    files: Sequence[RemoteFile], mirrors: Sequence[str], folder: Path, limits: Limits = PATIENT
) -> list[Path]:
    """Download files into `folder`, trying the mirrors (addresses that end in a slash) in turn.

    A mirror that fails on one is asked for no other. Raises DownloadError if they could not be had,
    or not be written.
    """
    deadline = time.monotonic() + limits.total
    contents: dict[RemoteFile, bytes] = {}
    failures = []
    for mirror in mirrors:
        try:
            for file in files:
                if file not in contents:
                    contents[file] = _fetch(mirror + file.name, file, limits.silence, deadline)
        except _MirrorError as error:
            failures.append(f"{urlsplit(mirror).netloc} {error} for {file.name}")
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for file in files:
                _remove_stale(file, folder)
                write_atomically(folder / file.name, contents[file])
            return [folder / file.name for file in files]
        except OSError as error:
            words = error.strerror or error
            raise DownloadError(f"{folder} cannot be written: {words}") from error
    raise DownloadError("; ".join(failures) or "there is no mirror")


def _remove_stale(file: RemoteFile, folder: Path) -> None:
    """Delete what processes that were killed left behind: no download takes that long."""
    for path in folder.glob(f".{file.name}.*.tmp"):
        with suppress(OSError):  # another process may do the same
            if time.time() - path.stat().st_mtime > 2 * PATIENT.total:
                path.unlink()


def _fetch(url: str, file: RemoteFile, silence: float, deadline: float) -> bytes:
    """Return what `url` gives if it is the file."""
    content = _read(url, file.size, silence, deadline)
    if hashlib.md5(content, usedforsecurity=False).hexdigest() == file.md5:
        return content
    page = "an HTML page" if content.lstrip()[:1] == b"<" else "other content"
    short = len(content) < file.size and content[:2] == b"\x1f\x8b"
    what = f"only {len(content):,} of {file.size:,} bytes" if short else page
    raise _MirrorError(f"sent {what}")


def _read(url: str, size: int, silence: float, deadline: float) -> bytes:
    """Return what `url` gives, cut off soon after `size` bytes.

    A thread does the waiting, because neither the look-up of a name nor headers that trickle in
    know a timeout. It is left behind when its time is over.
    """
    if time.monotonic() >= deadline:
        raise _MirrorError("had no time left")
    content, errors = bytearray(), list[Exception]()

    def read() -> None:
        try:
            with urllib.request.urlopen(url, timeout=silence) as response:
                while len(content) <= size and (piece := response.read1(_CHUNK)):
                    content.extend(piece)
                    if time.monotonic() >= deadline:
                        break
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(min(silence + 0.1, deadline - time.monotonic()))
    if thread.is_alive() and not content and time.monotonic() < deadline:
        raise _MirrorError(f"did not answer within {silence:g} s")
    thread.join(max(deadline - time.monotonic(), 0))
    if thread.is_alive():
        raise _MirrorError("took too long")
    if errors:
        raise _MirrorError(_refusal(errors[0], bool(content))) from errors[0]
    return bytes(content)


def _refusal(error: Exception, answered: bool) -> str:
    """Return in words what an exception of the request's says."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return f"answered {error.code} {error.reason}"
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    words = str(getattr(inner, "strerror", None) or inner or type(inner).__name__)
    reason = "timed out" if isinstance(inner, TimeoutError) else words
    return f"broke off ({reason})" if answered else f"cannot be reached ({reason})"
