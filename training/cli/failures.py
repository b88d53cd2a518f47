"""Jobs that failed: told at once, kept in their folders, and all listed when a sweep ends.

So are those that a signal kept from being started.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from training.errors import ConfigError, RunError
from training.storage.directories import FAILURE

#: Of the jobs that were not started.
MAX_NAMED = 5

_noted: dict[Path, Exception] = {}


def forget() -> None:
    """Start a command line: none has failed."""
    _noted.clear()


def note(directory: Path, error: Exception, sweep: bool) -> None:
    """Keep a job's failure for `report`, or raise it if it is a single run's defect.

    In a sweep it is also told, and written to failure.txt in the job's folder, because another
    process may be the one that reports.
    """
    expected = isinstance(error, (ConfigError, RunError))
    if not (sweep or expected):
        raise error
    _noted[directory] = error
    if sweep:
        details = "" if expected else "".join(traceback.format_exception(error))
        print(f"train.py: {directory.name} failed: {_sentence(error)}", file=sys.stderr)
        with suppress(OSError):
            (directory / FAILURE).write_text(f"{_sentence(error)}\n{details}", encoding="utf-8")


def report(directory: Path, sweep: bool) -> None:
    """Raise a single run's failure; list a sweep's and exit with status 1."""
    if not sweep:
        for error in _noted.values():
            raise error
        return
    found = {path: _sentence(error) for path, error in _noted.items()}
    for path in directory.absolute().rglob(FAILURE):
        found.setdefault(path.parent, path.read_text(encoding="utf-8").partition("\n")[0])
    if found:
        print(f"train.py: failed jobs: {len(found)}, the others went on", file=sys.stderr)
        for path in sorted(found):
            print(f"  {path}: {found[path]}", file=sys.stderr)
        sys.exit(1)


def tell_not_started(count: int, settings: Sequence[str] = ()) -> None:
    """Say of a sweep that a signal ended how many jobs are left, and which where that is known."""
    if not count:
        return
    plural = "1 job was" if count == 1 else f"{count} jobs were"
    named = "; ".join(settings[:MAX_NAMED])
    more = f" and {count - MAX_NAMED} more" if count > MAX_NAMED else ""
    which = f": {named}{more}" if named else ""
    print(f"train.py: {plural} not started{which}", file=sys.stderr)


def _sentence(error: Exception) -> str:
    text = str(error).partition("\n")[0]
    return text if isinstance(error, (ConfigError, RunError)) else f"{type(error).__name__}: {text}"
