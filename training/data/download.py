"""Downloading archives: bounded in time and size, verified, all of them or none.

Each file is written under a temporary name in its own folder, checked, flushed to disk, and takes
its real name only when every file asked for has been checked. So an interruption leaves nothing
that looks whole, and processes that download at the same time only replace equal files.
"""

from __future__ import annotations

import hashlib
import os
import queue
import secrets
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from training.data.mnist import Part

_CHUNK = 2**16


@dataclass(frozen=True)
class Limits:
    """Seconds without progress after which a mirror is given up, and seconds for everything."""

    silence: float
    total: float


PATIENT = Limits(silence=15, total=600)
QUICK = Limits(silence=3, total=60)


class DownloadError(Exception):
    """No mirror gave the files; the text says what each answered."""


class _MirrorError(Exception):
    """One mirror failed on one file; `fatal` if there is no point in asking it for another."""

    def __init__(self, reason: str, fatal: bool) -> None:
        super().__init__(reason)
        self.fatal = fatal


def fetch_parts(
    parts: Sequence[Part],
    mirrors: Sequence[str],
    folder: Path,
    *,
    patient: bool = True,
    limits: Limits | None = None,
) -> dict[Part, Path]:
    """Download every part's archive into `folder`, trying the mirrors in turn.

    Args:
        parts: what to fetch.
        mirrors: addresses that end in a slash.
        folder: created if need be.
        patient: `PATIENT` limits rather than `QUICK` ones.
        limits: other limits.

    Returns:
        The path of each part's archive.

    Raises:
        DownloadError: a part could not be had from any mirror, or not be written. Nothing is left
            behind.
    """
    limits = limits or (PATIENT if patient else QUICK)
    deadline = time.monotonic() + limits.total
    waiting, temporary = list(parts), {}
    failures: dict[str, list[str]] = {}
    try:
        for mirror in mirrors:
            for part in list(waiting):
                path = folder / f".{part.name}.{os.getpid()}-{secrets.token_hex(4)}.part"
                temporary[part] = path
                try:
                    _fetch(mirror + part.name + ".gz", part, path, limits.silence, deadline)
                    waiting.remove(part)
                except _MirrorError as error:
                    path.unlink(missing_ok=True)
                    _note(failures, mirror, part, error)
                    if error.fatal:
                        break
            if not waiting:
                return _publish(temporary, folder)
    except OSError as error:
        raise DownloadError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        for path in temporary.values():
            with suppress(OSError):
                path.unlink(missing_ok=True)
    reasons = (f"{' and '.join(hosts)} {reason}" for reason, hosts in failures.items())
    raise DownloadError("; ".join(reasons) or "there is no mirror")


def _note(failures: dict[str, list[str]], mirror: str, part: Part, error: _MirrorError) -> None:
    """Add a mirror to those that failed for the same reason."""
    reason = str(error) if error.fatal else f"{error} for {part.name}.gz"
    failures.setdefault(reason, []).append(urlsplit(mirror).netloc)


def _publish(temporary: dict[Part, Path], folder: Path) -> dict[Part, Path]:
    """Give verified files their real names, and make the names outlive a power cut."""
    result = {}
    for part, path in temporary.items():
        result[part] = folder / (part.name + ".gz")
        os.replace(path, result[part])
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return result


def _fetch(url: str, part: Part, path: Path, silence: float, deadline: float) -> None:
    """Write what `url` gives to `path` if it is the part's archive."""
    digest, received, start = hashlib.md5(usedforsecurity=False), 0, b""
    response = _open(url, min(silence, deadline - time.monotonic()))
    path.parent.mkdir(parents=True, exist_ok=True)
    with response, path.open("xb") as file:
        while piece := _receive(response, deadline):
            start = start or piece[:64]
            received += len(piece)
            if received > part.archive_bytes:
                break
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != part.md5 or received != part.archive_bytes:
        page = "an HTML page" if start.lstrip()[:1] == b"<" else "other content"
        short = received < part.archive_bytes and start[:2] == b"\x1f\x8b"
        what = f"only {received:,} of {part.archive_bytes:,} bytes" if short else page
        raise _MirrorError(f"sent {what}", fatal=False)


def _receive(response: HTTPResponse, deadline: float) -> bytes:
    """Return the next bytes, as few as have come: a mirror that trickles must not hide the time."""
    if time.monotonic() > deadline:
        raise _MirrorError("took too long", fatal=True)
    try:
        return response.read1(_CHUNK)
    except (OSError, HTTPException) as error:
        raise _MirrorError(f"broke off ({_words(error)})", fatal=True) from error


def _open(url: str, seconds: float) -> HTTPResponse:
    """Open `url` within a time that includes looking up its name.

    The system's name lookup and a server that sends its headers byte by byte know no timeout, so
    the request runs in a thread that is left behind when the time is over.
    """
    if seconds <= 0:
        raise _MirrorError("was not asked, the time being over", fatal=True)
    answer: queue.Queue[HTTPResponse | Exception] = queue.Queue()
    given_up = threading.Event()

    def request() -> None:
        try:
            response = urllib.request.urlopen(url, timeout=seconds)
        except Exception as error:
            answer.put(error)
            return
        answer.put(response)
        if given_up.is_set():
            response.close()

    threading.Thread(target=request, daemon=True).start()
    try:
        result = answer.get(timeout=seconds + 0.1)
    except queue.Empty:
        given_up.set()
        raise _MirrorError(f"did not answer within {seconds:.0f} s", fatal=True) from None
    if isinstance(result, urllib.error.HTTPError):
        result.close()
        raise _MirrorError(f"answered {result.code} {result.reason}", fatal=False)
    if isinstance(result, Exception):
        raise _MirrorError(f"cannot be reached ({_words(result)})", fatal=True) from result
    return result


def _words(error: Exception) -> str:
    """Return an exception's own words, without the wrapping urllib gives them."""
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, TimeoutError):
        return "timed out"
    return str(getattr(inner, "strerror", None) or inner or type(inner).__name__)
