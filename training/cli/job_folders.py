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
from training.cli import resumption
from training.cli.request import Job, Request
from training.errors import ConfigError
from training.storage.run_folder import JOBS, claim, hold

SWEEP = "multirun.yaml"


def job_folder(
    job: Job, wanted: Path, setting: str, numbered: bool = False, undo: bool = True
) -> AbstractContextManager[Path]:
    """Hold a job's folder; a new run's is made, and gets Hydra's record of the settings.

    Args:
        job: the job.
        wanted: where it is, or is to be.
        setting: which chooses it.
        numbered: whether it may be another one where it cannot be had.
        undo: whether to remove a new folder if the block refuses the settings.

    Raises:
        ConfigError: if it cannot be had.
    """
    begin = partial(_record, job) if job.config.resume is None else None
    return _folder(wanted, setting, numbered, undo, begin)


def sweep_folder(request: Request) -> AbstractContextManager[Path]:
    """Hold a sweep's folder; a new one's is made, and gets the list of its jobs.

    Raises:
        ConfigError: if it cannot be had.
    """

    def begin(place: Path) -> None:
        OmegaConf.save({"hydra": request.hydra}, place / SWEEP)
        resumption.save_jobs(place, request.jobs)

    new = None if request.resumes else begin
    return _folder(request.directory, "hydra.sweep.dir", request.numbered, True, new)


@contextmanager
def _folder(
    wanted: Path, setting: str, numbered: bool, undo: bool, begin: Callable[[Path], None] | None
) -> Iterator[Path]:
    """Hold a folder, which is there already, or made and begun if `begin` says how."""
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
    if {path.name for path in directory.iterdir()} <= {".hydra", SWEEP, JOBS}:
        shutil.rmtree(directory / ".hydra", ignore_errors=True)
        for name in (SWEEP, JOBS):
            (directory / name).unlink(missing_ok=True)
    for folder in (directory, *directory.parents):
        if folder == present:
            return
        with suppress(OSError):
            folder.rmdir()
