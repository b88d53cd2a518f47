"""What a command line asks for: checked jobs, all of them before anything runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write

from training.cli import sweeps
from training.config.composition import Composer, composer
from training.config.schema import Config
from training.config.suggestions import groups
from training.errors import ConfigError
from training.trainer import resume

ONE_RUN = "resume goes on with one run: give one folder, and no --multirun"


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        config: its checked configuration.
        lines: the settings that give it.
        composed: the composition itself, and Hydra's part of it, for the run's record.
        hydra: the latter.
        directory: where its results are wanted; in a sweep, inside the sweep's folder.
    """

    config: Config
    lines: list[str]
    composed: DictConfig
    hydra: DictConfig
    directory: Path


@dataclass(frozen=True)
class Request:
    """What a command line asks for.

    Attributes:
        jobs: in their order.
        sweep: whether they are a sweep's.
        directory: the folder of the run or the sweep.
        hydra: Hydra's settings.
        lines: what Hydra is to be given for the same jobs.
        resumes: whether the folder is that of a run to go on with.
        finished: whether that run already has all it is asked for.
    """

    jobs: list[Job]
    sweep: bool
    directory: Path
    hydra: DictConfig
    lines: list[str] = field(default_factory=list)
    resumes: bool = False
    finished: bool = False

    @property
    def launcher(self) -> str:
        """Return what runs a sweep's jobs: "basic" (one after another), "joblib", "slurm", ..."""
        return str(self.hydra.launcher._target_).rpartition(".")[2].removesuffix("Launcher").lower()

    @property
    def plain(self) -> bool:
        """Return whether the jobs run in this process, and Hydra has nothing to do with them."""
        job = self.hydra.job
        wishes = (self.hydra.callbacks, job.chdir, job.env_set, job.env_copy)
        return not any(wishes) and not (self.sweep and self.launcher != "basic")

    def varied(self, job: Job) -> str:
        """Return the settings of one of the jobs in which it differs from another."""
        shared = set.intersection(*(set(other.lines) for other in self.jobs))
        return " ".join(line for line in job.lines if line not in shared)


def read(args: argparse.Namespace) -> Request:
    """Compose and check every job of the command line.

    Raises:
        ConfigError: with the argument at fault and what it may be.
    """
    with composer(args.config_path, args.config_name, args.config_dir) as opened:
        overrides = opened.parse(args.overrides)
        _check_keys(overrides)
        resumed = _resumed(overrides)
        if resumed is not None:
            return _resumption(opened, resumed, overrides, bool(args.multirun))
        return _new_runs(opened, overrides, bool(args.multirun))


def _new_runs(opened: Composer, overrides: list[Override], multirun: bool) -> Request:
    sweeps.check_sweeps(overrides)
    lines = sweeps.first_values(overrides)
    whole = opened.compose(lines)
    hydra = whole.hydra
    if not (multirun or hydra.mode == RunMode.MULTIRUN):
        for override in overrides:
            if override.is_sweep_override():
                line = override.input_line
                raise ConfigError(f"{line} gives several values: add --multirun to run them all")
        job = _job(opened, lines, whole)
        request = Request([job], False, job.directory, hydra, lines)
    else:
        place = Path(str(hydra.sweep.dir))
        swept = opened.parse([f"{k}={v}" for k, v in (hydra.sweeper.params or {}).items()])
        sweeps.check_sweeps(swept)
        _check_keys(swept)
        # Hydra's own order: the command line wins over the file's parameters.
        jobs = _sweep(opened, sweeps.jobs([*swept, *overrides]), whole)
        lines = [str(override.input_line) for override in overrides]
        request = Request(jobs, True, place, hydra, lines)
    _check_schedule(overrides, request.jobs)
    return request


def _sweep(opened: Composer, jobs: list[list[str]], whole: DictConfig | None = None) -> list[Job]:
    found = []
    for number, lines in enumerate(jobs):
        composed = opened.compose(lines)
        if whole is not None:
            OmegaConf.copy_cache(whole, composed)  # one time, `${now:...}`, for all jobs
        found.append(_job(opened, lines, composed, number))
    return found


def _job(
    opened: Composer, lines: list[str], composed: DictConfig, number: int | None = None
) -> Job:
    """Check one composition; number is the job's place in a sweep."""
    with read_write(composed.hydra):
        composed.hydra.mode = RunMode.RUN if number is None else RunMode.MULTIRUN
        if number is not None:
            composed.hydra.job.num, composed.hydra.job.id = number, str(number)
    HydraConfig.instance().set_config(composed)
    place = composed.hydra.run.dir if number is None else composed.hydra.sweep.subdir
    directory = Path(str(place))
    hydra = HydraConfig.instance().cfg
    assert isinstance(hydra, DictConfig)
    return Job(opened.check(composed), lines, composed, hydra, directory)


def _resumption(
    opened: Composer, directory: Path, given: list[Override], multirun: bool
) -> Request:
    """Return the request to go on with the run in directory under its own settings."""
    keys = [override.key_or_group for override in given]
    for key in ("hydra.run.dir", "experiment", "study"):
        if key in keys:
            raise ConfigError(f"resume and {key} exclude each other: a run keeps its own")
    if multirun or any(override.is_sweep_override() for override in given):
        raise ConfigError(ONE_RUN)
    content = resume.find_run(directory)
    saved = resume.saved_overrides(content, keys, groups())
    lines = [*saved, *(str(override.input_line) for override in given)]
    try:
        composed = opened.compose(lines)
        hydra = composed.hydra
        job = _job(opened, lines, composed)
    except ConfigError:
        try:
            opened.check(opened.compose(saved))
        except ConfigError as error:
            raise ConfigError(f"{content.path}: its settings cannot be used: {error}") from error
        raise
    _check_schedule(given, [job])
    resume.check_unchanged(content, job.config)
    finished = resume.is_finished(content, job.config)
    return Request([job], False, directory, hydra, lines, True, finished)


def told(request: Request) -> bytes:
    """Return what the other ranks have to know of rank 0's request."""
    lines = [job.lines for job in request.jobs]
    return json.dumps([lines, request.sweep, request.finished]).encode()


def follow(args: argparse.Namespace, content: bytes) -> Request:
    """Return rank 0's request, composed anew on another rank, from what `told` says of it."""
    lines, sweep, finished = json.loads(content)
    with composer(args.config_path, args.config_name, args.config_dir) as opened:
        if sweep:
            jobs = _sweep(opened, lines)
        else:
            jobs = [_job(opened, job, opened.compose(job)) for job in lines]
    return Request(jobs, sweep, Path(), jobs[0].hydra.hydra, finished=finished)


def _resumed(overrides: Iterable[Override]) -> Path | None:
    """Return the folder of the run that is to be resumed."""
    folder = None
    for override in overrides:
        if override.key_or_group == "resume":
            if override.is_sweep_override():
                raise ConfigError(ONE_RUN)
            value = override.value()
            text = str(getattr(value, "text", value)).strip()
            if not text:
                raise ConfigError("resume needs the folder of a run, as in resume=outputs/...")
            folder = None if value is None else Path(text).absolute()
    return folder


def _check_keys(overrides: Iterable[Override]) -> None:
    """Refuse a group's name as a setting: it would be recorded, and not be what runs."""
    for override in overrides:
        group, _, name = override.key_or_group.rpartition(".")
        if (name == "name" and group in groups()) or override.key_or_group == "hydra.launcher":
            option = str(override.input_line).partition("=")[2]
            raise ConfigError(
                f"{override.key_or_group} is not a setting: write "
                f"{group if name == 'name' else 'hydra/launcher'}={option}"
            )


def _check_schedule(given: Iterable[Override], jobs: Iterable[Job]) -> None:
    """Refuse a factor that no job's learning rate is ever multiplied by."""
    keys = [override.key_or_group for override in given]
    if "scheduler.gamma" in keys and all(job.config.scheduler.step_size is None for job in jobs):
        raise ConfigError(
            "scheduler.gamma needs scheduler=step, or scheduler.step_size=...: without it the "
            "learning rate never falls"
        )
