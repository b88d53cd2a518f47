"""A folder of its own for every run, which nobody else's files are in.

A folder is held by the process that writes to it, from before its first file to after its last.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from training import environment
from training.errors import ConfigError
from training.storage.checkpoint import NAME
from training.storage.files import is_leftover

SUMMARY = "summary.json"
#: Why a job of a sweep has failed.
FAILURE = "failure.txt"
#: A sweep's jobs, from which it can be resumed.
JOBS = "jobs.json"
#: Says that the folder `.hydra` around it is ours; many other programs make one, too.
MARK = Path(".hydra", "lenet-twins")
#: What a run leaves that ends before its first save.
_LEFT = {".hydra", "config.yaml", "metrics.csv", "steps.csv", "evaluations.csv"}
_LEFT |= {SUMMARY, FAILURE}


@contextmanager
def folder(
    wanted: Path,
    setting: str,
    begin: Callable[[Path], None] | None,
    numbered: bool = False,
    undo: bool = True,
) -> Iterator[Path]:
    """Hold the folder of a run or a sweep, which a setting chooses, within the block.

    A new one is claimed, and its first files are written by `begin`, which is None for one that is
    there already; if the block refuses the settings and `undo` is set, it is removed again. Rank 0
    alone does this.
    """
    wanted = wanted.absolute()
    if environment.rank() > 0:
        yield wanted
    elif begin is None:
        if not os.access(wanted, os.W_OK):
            raise ConfigError(f"cannot write results to {wanted}: copy the folder to where you can")
        with hold(wanted):
            yield wanted
    else:
        there = next(path for path in (wanted, *wanted.parents) if os.path.exists(path))
        with claim(wanted, setting, numbered) as directory:
            begin(directory)
            try:
                yield directory
            except ConfigError:
                if undo:
                    _discard(directory, there)
                raise


def _discard(directory: Path, present: Path) -> None:
    """Remove a folder in which nothing was begun, and those around it up to one that was there."""
    if {path.name for path in directory.iterdir()} <= {".hydra", JOBS}:
        shutil.rmtree(directory / ".hydra", ignore_errors=True)
        (directory / JOBS).unlink(missing_ok=True)
    for path in (directory, *directory.parents):
        if path == present:
            return
        with suppress(OSError):
            path.rmdir()


@contextmanager
def claim(wanted: Path, setting: str = "hydra.run.dir", numbered: bool = False) -> Iterator[Path]:
    """Make a folder for a new run, and hold it; raise ConfigError if it cannot be had.

    It may be there already if it is empty, or has nothing but what a run left that ended before
    its first save.

    Args:
        wanted: the folder.
        setting: which chooses it.
        numbered: take `wanted_2`, `wanted_3`, ... where it cannot be had.
    """
    remedy = f"choose another folder with {setting}=..."
    for number in itertools.count(1):
        directory = wanted if number == 1 else wanted.with_name(f"{wanted.name}_{number}")
        with ExitStack() as held:
            try:
                directory.mkdir(parents=True, exist_ok=True)
                held.enter_context(hold(directory))
                _mark(directory)
            except ConfigError as error:
                if numbered:
                    continue
                raise ConfigError(f"{error}: {remedy}") from None
            except FileExistsError:
                raise ConfigError(f"{directory} is a file: {remedy}") from None
            except OSError as error:
                raise ConfigError(
                    f"cannot write results to {directory}: {error.strerror}; {remedy}"
                ) from error
            yield directory
            return


def _mark(directory: Path) -> None:
    """Mark a folder as a run's; raise ConfigError if it holds more than a run's first files."""
    names = {path.name for path in directory.iterdir()}
    if (directory / NAME).exists() or (directory / JOBS).exists():
        raise ConfigError(f"{directory} already holds a run: resume=... continues it")
    foreign = names and not (directory / MARK).exists()
    if foreign or any(name not in _LEFT and not is_leftover(name) for name in names):
        raise ConfigError(f"{directory} is not empty")
    try:
        (directory / MARK).parent.mkdir(exist_ok=bool(names))
        (directory / MARK).touch()
    except FileExistsError:  # another process was faster, on a file system without locks
        raise ConfigError(f"{directory} is not empty") from None


@contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Keep other processes from training in directory; the system lets go when a process dies.

    Raises ConfigError if another process holds it.
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
