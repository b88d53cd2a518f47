"""What ends a run early, each told in one sentence and without a traceback.

Exit statuses: 1 the machine failed (a full disk, a process that is gone), 2 a setting
that cannot be used, 3 the training diverged, 130 and 143 stopped by SIGINT and SIGTERM.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from pathlib import Path

WRITE_ERRORS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.EPIPE,
}


class ConfigError(ValueError):
    """A setting that cannot be used; the message names it and what would be accepted.

    Control characters, which a setting may hold, are spelt out: the message stays one line.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


class RunError(Exception):
    """A run that cannot go on through no defect of the program."""

    exit_status = 1


class OutputError(RunError):
    """Results cannot be written; the message names the file and what is still good."""


class DivergenceError(RunError):
    """The loss is no longer a finite number; the message names step and learning rate."""

    exit_status = 3


class StoppedError(KeyboardInterrupt):
    """A signal, by its number, ended the run after a save; like Ctrl-C, it also ends a sweep."""

    def __init__(self, what: str, number: int, command: str = "") -> None:
        super().__init__(f"{what}; resume with: {command}" if command else what)
        self.what, self.number, self.exit_status = what, number, 128 + number


class ProcessError(StoppedError):
    """Another of the run's processes is gone or silent, without which it cannot go on."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 0)
        self.exit_status = 1


def cannot_write(error: OSError, directory: Path | None = None) -> str | None:
    """Return "cannot write <file>: <reason>", or None if the error may be a defect's.

    Any error about a file of directory, where only results are written, counts.
    """
    name = error.filename
    inside = isinstance(name, str) and directory is not None and directory in Path(name).parents
    if not inside and error.errno not in WRITE_ERRORS:
        return None
    return f"cannot write {name or 'the output'}: {error.strerror}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean ...?)" for the closest known word, or "" when none is close.

    A dotted word is compared whole, and by its last part with each known word's last part.
    """
    candidates = list(known)
    last = {candidate.rsplit(".", 1)[-1]: candidate for candidate in reversed(candidates)}
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.7) or [
        last[part]
        for part in difflib.get_close_matches(word.rsplit(".", 1)[-1], last, n=1, cutoff=0.6)
    ]
    close = close or [c for c in candidates if len(word) > 2 and c.startswith(word)][:1]
    return f" (did you mean {close[0]}?)" if close else ""


def first_line(error: BaseException) -> str:
    """Return what an error says first."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def is_expected(error: BaseException) -> bool:
    """Return whether an error is one of those above, and not a defect of the program."""
    return isinstance(error, (ConfigError, RunError, StoppedError))


def in_one_line(error: BaseException) -> str:
    """Return what an error says first, and of what type it is if it is a defect's."""
    text = first_line(error)
    return text if is_expected(error) else f"{type(error).__name__}: {text}"
