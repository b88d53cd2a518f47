"""What `resume=FOLDER` asks for: a run, or what is left of a sweep, under their own settings."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hydra.core.override_parser.types import Override

from training.cli.request import Job, Request, is_inside, make_job
from training.config.composition import Composer
from training.config.settings import quote
from training.errors import ConfigError
from training.storage.checkpoint import NAME, PREVIOUS, Checkpoint
from training.storage.files import read_bounded, write_atomically
from training.storage.run_folder import JOBS
from training.trainer import resume

ONE_FOLDER = "resume takes one run or sweep: give one folder, without --multirun"
#: Bytes of the list of a sweep's jobs.
MAX_BYTES = 16 * 2**20
#: Groups that choose files, whose settings are recorded, and their names in each run's record.
RECIPES = ("experiment", "study")


def resumed_folder(overrides: Iterable[Override]) -> Path | None:
    """Return the folder that is to be resumed."""
    folder = None
    for override in overrides:
        if override.key_or_group == "resume":
            if override.is_sweep_override():
                raise ConfigError(ONE_FOLDER)
            value = override.value()
            text = str(getattr(value, "text", value)).strip()
            if not text:
                raise ConfigError("resume needs the folder of a run, as in resume=outputs/...")
            folder = None if value is None else Path(text).absolute()
    return folder


def request(opened: Composer, directory: Path, given: list[Override], multirun: bool) -> Request:
    """Return the request to go on with the run or the sweep in directory.

    It is refused if there is none, or if given would change what it computes.
    """
    keys = [override.key_or_group for override in given]
    for key in ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", *RECIPES):
        if key in keys:
            raise ConfigError(f"resume and {key} exclude each other: a run keeps its own")
    if multirun or any(override.is_sweep_override() for override in given):
        raise ConfigError(ONE_FOLDER)
    if sweep := os.path.exists(directory / JOBS):
        jobs = [_job(opened, given, *listed) for listed in _listed(directory)]
    else:
        jobs = [_job(opened, given, resume.find_run(directory), directory)]
    return Request(jobs, sweep, directory, resumes=True)


def save_jobs(jobs: Sequence[Job], directory: Path) -> None:
    """Write the list of a sweep's jobs into its folder."""
    listed = [
        {
            "directory": str(job.directory),
            "recipes": {key: job.hydra.hydra.runtime.choices.get(key) for key in RECIPES},
            "config": resume.record_of(job.config),
        }
        for job in jobs
    ]
    content = json.dumps({"format": resume.FORMAT, "jobs": listed}, indent=1).encode()
    write_atomically(directory / JOBS, content)


def _listed(directory: Path) -> Iterator[tuple[Checkpoint, Path, int, list[str]]]:
    """Yield each of a sweep's jobs: record, folder, number, and the settings that choose files.

    The record is that of the job's checkpoint, or, where there is none, the list's own.
    """
    path = directory / JOBS
    try:
        listed = json.loads(read_bounded(path, MAX_BYTES))
        if listed["format"] != resume.FORMAT or not listed["jobs"]:
            raise ValueError("it lists no jobs of this version of the program")
        for number, entry in enumerate(listed["jobs"]):
            name, recipes = Path(entry["directory"]), entry["recipes"]
            if not str(name).isprintable() or not is_inside(name):
                raise ValueError("it names a folder that is not a job's")
            if not isinstance(entry["config"], dict):
                raise ValueError("it lacks a job's settings")
            content = Checkpoint(path, b"", {"config": entry["config"]})
            if any((directory / name / file).exists() for file in (NAME, NAME + PREVIOUS)):
                content = resume.find_run(directory / name)
            chosen = [(key, recipes.get(key)) for key in RECIPES]
            yield content, name, number, [f"{k}={quote(v)}" for k, v in chosen if v]
    except ConfigError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"resume={directory}: {JOBS} cannot be used ({error})") from error


def _job(
    opened: Composer,
    given: list[Override],
    content: Checkpoint,
    name: Path,
    number: int | None = None,
    recipes: Sequence[str] = (),
) -> Job:
    """Return the job that goes on with a run, or that begins one of which there is only a record.

    The content is the run's checkpoint, or the entry of its sweep's list; folder (name), number and
    recipes, the settings that choose files and that a new run's record is to name, are a sweep's.
    """
    path, record = content.path, content.record
    saved, begun = resume.saved_settings(path, record["config"]), path.name != JOBS
    folder = path.parent if begun else path.parent / name
    if begun:
        saved["resume"], recipes = str(folder), ()
    given = [override for override in given if override.key_or_group != "resume"]
    try:
        job = make_job(opened, opened.restore(saved, given, recipes), number, name)
    except ConfigError as error:
        if given:
            raise
        raise ConfigError(f"{path}: its settings cannot be used: {error}") from error
    resume.check_unchanged(record, job.config)
    if number is not None and resume.summary_of(folder).get("status") == "diverged":
        return replace(job, done=True)  # it would do so again
    return replace(job, done=begun and resume.is_finished(content, job.config))
