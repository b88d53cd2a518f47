"""The folders of jobs and sweeps: claimed, with a record of the settings, taken back if refused.

Rank 0 alone makes them, and writes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path

from omegaconf import OmegaConf, read_write

from training import environment
from training.cli.request import Job
from training.errors import ConfigError
from training.storage.run_folder import JOBS, claim, hold


def job_folder(
    job: Job, wanted: Path, setting: str, numbered: bool = False, undo: bool = True
) -> AbstractContextManager[Path]:
    """Hold a job's folder as `folder` does; a new one gets Hydra's record of the settings."""
    begin = partial(_record, job) if job.config.resume is None else None
    return folder(wanted, setting, begin, numbered, undo)


@contextmanager
def folder(
    wanted: Path,
    setting: str,
    begin: Callable[[Path], None] | None,
    numbered: bool = False,
    undo: bool = True,
) -> Iterator[Path]:
    """Hold the folder that a setting chooses within the block.

    A new one's first files are written by `begin`, which is None for one that is there already. A
    new one may be another, numbered one where it cannot be had, and is removed again if the block
    refuses the settings and `undo` is set.
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
        there = next(path for path in (wanted, *wanted.parents) if path.exists())
        with claim(wanted, setting, numbered) as directory:
            begin(directory)
            try:
                yield directory
            except ConfigError:
                if undo:
                    _discard(directory, there)
                raise


def _record(job: Job, directory: Path) -> None:
    hydra = job.hydra.hydra
    with read_write(hydra):
        hydra.runtime.output_dir = str(directory)
    if hydra.output_subdir is not None:
        record = directory / str(hydra.output_subdir)
        record.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(job.composed, record / "config.yaml")
        OmegaConf.save(job.hydra, record / "hydra.yaml")
        OmegaConf.save(hydra.overrides.task, record / "overrides.yaml")


def _discard(directory: Path, present: Path) -> None:
    """Remove a folder in which nothing was begun, and those around it up to one that was there."""
    if {path.name for path in directory.iterdir()} <= {".hydra", JOBS}:
        shutil.rmtree(directory)
    for path in (directory, *directory.parents):
        if path == present:
            return
        with suppress(OSError):
            path.rmdir()
