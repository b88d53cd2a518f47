"""The folders of jobs and sweeps: claimed, with a record of the settings, taken back if refused.

Rank 0 alone makes them, and writes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from omegaconf import OmegaConf, read_write

from training import environment
from training.cli import resumption
from training.cli.jobs import Job, Request
from training.errors import ConfigError
from training.storage.run_folder import JOBS, claim, hold

SWEEP = "multirun.yaml"


@contextmanager
def job_folder(
    job: Job, wanted: Path, setting: str, numbered: bool = False, undo: bool = True
) -> Iterator[Path]:
    """Hold a job's folder; a new run's is made, and gets Hydra's record of the settings.

    Args:
        wanted: where it is, or is to be.
        setting: which chooses it.
        numbered: whether it may be another one where it cannot be had.
        undo: whether to remove a new folder if the block refuses the settings.

    Raises:
        ConfigError: if it cannot be had.
    """
    if environment.rank() > 0:
        yield wanted
    elif job.resumes:
        if not os.access(wanted, os.W_OK):
            raise ConfigError(f"cannot write results to {wanted}: copy the folder to where you can")
        with hold(wanted):
            yield wanted
    else:
        there = _present(wanted)
        with claim(wanted.absolute(), setting, numbered) as directory:
            _record(job, directory)
            try:
                yield directory
            except ConfigError:
                if undo:
                    _discard(directory, there)
                raise


@contextmanager
def sweep_folder(request: Request) -> Iterator[Path]:
    """Hold a sweep's folder; a new one's is made, and gets the list of its jobs.

    Raises:
        ConfigError: if it cannot be had.
    """
    wanted = request.directory.absolute()
    if environment.rank() > 0:
        yield wanted
    elif request.resumes:
        with hold(wanted):
            yield wanted
    else:
        there = _present(wanted)
        with claim(wanted, "hydra.sweep.dir", request.numbered) as place:
            OmegaConf.save({"hydra": request.hydra}, place / SWEEP)
            resumption.save_jobs(place, request.jobs)
            try:
                yield place
            except ConfigError:
                for name in (SWEEP, JOBS):
                    (place / name).unlink()
                _discard(place, there)
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


def _present(wanted: Path) -> Path:
    """Return the innermost folder of a path that is there already."""
    wanted = wanted.absolute()
    return next(path for path in (wanted, *wanted.parents) if path.exists())


def _discard(directory: Path, present: Path) -> None:
    """Remove a new, empty folder, and those around it up to one that was there."""
    directory = directory.absolute()
    if [path.name for path in directory.iterdir()] == [".hydra"]:
        shutil.rmtree(directory / ".hydra", ignore_errors=True)
    for folder in (directory, *directory.parents):
        if folder == present:
            return
        with suppress(OSError):
            folder.rmdir()
