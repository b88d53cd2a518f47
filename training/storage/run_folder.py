"""A folder of its own for every run, also for two that start in the same second.

A folder is claimed once, by the run it is made for, and held by every process that writes to it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.errors import ConfigError

SUMMARY = "summary.json"
#: Why a job of a sweep has failed.
FAILURE = "failure.txt"


def claim(wanted: Path, setting: str = "hydra.run.dir") -> Path:
    """Make and return `wanted`, or `wanted_2`, `wanted_3`, ... where another run holds it.

    The folder `.hydra`, which every run needs anyway, marks the claim: making a folder either
    succeeds or fails, so of two processes exactly one gets it. An empty folder can be claimed.

    Args:
        wanted: the folder.
        setting: which chooses it.

    Raises:
        ConfigError: if the folder cannot be made.
    """
    remedy = f"choose another folder with {setting}=..."
    for number in itertools.count(1):
        directory = wanted if number == 1 else wanted.with_name(f"{wanted.name}_{number}")
        try:
            directory.mkdir(parents=True, exist_ok=True)
            os.mkdir(directory / ".hydra")
        except FileExistsError:
            if directory.is_dir():
                continue
            raise ConfigError(f"{directory} is a file: {remedy}") from None
        except OSError as error:
            raise ConfigError(
                f"cannot write results to {directory}: {error.strerror}; {remedy}"
            ) from error
        return directory
    raise AssertionError("unreachable")


@contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Keep other processes from training in directory; the system lets go when a process dies.

    Raises:
        ConfigError: if another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another process is training in {directory}") from None
        except OSError:  # a file system without locks: nothing to hold
            pass
        yield
    finally:
        os.close(handle)
