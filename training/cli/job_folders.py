"""A job's folder: claimed, with Hydra's record of the settings, and taken back if refused."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from omegaconf import OmegaConf, read_write

from training import environment
from training.cli.jobs import Job
from training.storage import run_folder


def begin(job: Job, wanted: Path, setting: str) -> Path:
    """Return the job's folder, claimed, with Hydra's record of it; rank 0 alone writes."""
    if environment.rank() > 0:
        return wanted
    directory = run_folder.claim(Path(wanted).absolute(), setting)
    hydra = job.hydra.hydra
    with read_write(hydra):
        hydra.runtime.output_dir = str(directory)
    if hydra.output_subdir is not None:
        record = directory / str(hydra.output_subdir)
        record.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(job.composed, record / "config.yaml")
        OmegaConf.save(job.hydra, record / "hydra.yaml")
        OmegaConf.save(hydra.overrides.task, record / "overrides.yaml")
    return directory


def present(wanted: Path) -> Path:
    """Return the innermost folder of a path that is there already."""
    wanted = wanted.absolute()
    return next(path for path in (wanted, *wanted.parents) if path.exists())


def discard(directory: Path, present: Path) -> None:
    """Remove a folder that `begin` has made, and those around it up to one that was there."""
    if environment.rank() > 0:
        return
    shutil.rmtree(directory / ".hydra", ignore_errors=True)
    directory = directory.absolute()
    for folder in (directory, *directory.parents):
        if folder == present:
            return
        with suppress(OSError):
            folder.rmdir()
