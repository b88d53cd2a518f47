"""From the command line to checked configurations.

Hydra stops at the first job of a sweep that cannot be had. Here every job is composed and checked
before anything runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import OmegaConf

from training.cli.composer import (
    COMPOSITION_ERRORS,
    CONFIG_DIRECTORY,
    CONFIG_NAME,
    Composer,
    default_names,
    first_line,
    groups,
)
from training.config.schema import Config
from training.errors import ConfigError, did_you_mean
from training.trainer import resume

ONE_RUN = "resume takes up one run: give one folder, and no --multirun"


@dataclass(frozen=True)
class Plan:
    """What a command line asks for.

    Attributes:
        jobs: their checked configurations.
        multirun: whether it is a sweep.
        directory: the folder they are to be written to.
        overrides: the settings that give these jobs, a resumed run's own before the user's.
        resumes: whether the folder is that of a run to be taken up again.
        finished: whether that run already has all it is asked for.
        launcher: of a sweep, the class that runs its jobs.
        settings: of each job of a sweep, those in which it differs from another.
    """

    jobs: tuple[Config, ...]
    multirun: bool
    directory: str
    overrides: tuple[str, ...]
    resumes: bool = False
    finished: bool = False
    launcher: str = ""
    settings: tuple[str, ...] = ()


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse Hydra's options; settings (key=value), before and after them, are in `.overrides`.

    Raises:
        ConfigError: if an option is unknown, lacks its value, or excludes another one.
    """

    def fail(message: str) -> NoReturn:
        raise ConfigError(message)

    parser = get_args_parser()
    parser.error = fail  # type: ignore[method-assign]
    args, unknown = parser.parse_known_intermixed_args(list(argv))
    for option in unknown:
        if option.startswith("-"):
            word = option.lstrip("-").partition("=")[0]
            raise ConfigError(
                f"there is no option {option}; settings are given as key=value"
                f"{did_you_mean(word, default_names())}"
            )
    modes = ("run", "multirun", "cfg", "info", "shell_completion")
    chosen = [f"--{mode.replace('_', '-')}" for mode in modes if getattr(args, mode)]
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)} exclude each other: give one of them")
    if args.resolve and not args.cfg and not args.help:
        raise ConfigError("--resolve goes with --cfg or --help only")
    return args


def make_plan(args: argparse.Namespace) -> Plan:
    """Compose and check every job of the command line.

    Raises:
        ConfigError: with the argument at fault and what it may be.
    """
    directory = Path(args.config_path or CONFIG_DIRECTORY).resolve()
    for path in filter(None, (directory, args.config_dir)):
        if not Path(path).is_dir():
            raise ConfigError(f"there is no folder {path} of configuration files")
    extra = []
    if args.config_dir:
        extra = [f"hydra.searchpath=[file://{Path(args.config_dir).resolve()}]"]
    composer = Composer(args.config_name or CONFIG_NAME, extra)
    with initialize_config_dir(str(directory), version_base="1.3", job_name="train"):
        try:
            overrides = composer.parse(args.overrides)
            resumed = _resumed(overrides)
            if resumed is not None:
                return _plan_resumption(composer, resumed, overrides, bool(args.multirun))
            return _plan(composer, overrides, bool(args.multirun))
        except ConfigError:
            raise
        except COMPOSITION_ERRORS as error:
            raise ConfigError(f"these settings cannot be used: {first_line(error)}") from error


def _plan(composer: Composer, overrides: list[Override], multirun: bool) -> Plan:
    _check_sweeps(overrides)
    whole = composer.compose(_first_values(overrides), with_hydra=True)
    multirun = multirun or OmegaConf.select(whole, "hydra.mode") == RunMode.MULTIRUN
    lines = [str(override.input_line) for override in overrides]
    if multirun:
        params = OmegaConf.select(whole, "hydra.sweeper.params") or {}
        swept = composer.parse([f"{key}={value}" for key, value in params.items()])
        _check_sweeps(swept)
        # The sweeper's own order: the command line wins over the file's parameters.
        jobs = BasicSweeper.split_arguments([*swept, *overrides], None)[0]
    else:
        for override in overrides:
            if override.is_sweep_override():
                line = override.input_line
                raise ConfigError(f"{line} gives several values: add --multirun to run them all")
        jobs = [lines]
    checked = tuple(composer.check(job) for job in jobs)
    _check_schedule(overrides, checked)
    target = whole.hydra.sweep.dir if multirun else whole.hydra.run.dir
    launcher = str(OmegaConf.select(whole, "hydra.launcher._target_"))
    shared = set.intersection(*map(set, jobs))
    settings = tuple(" ".join(line for line in job if line not in shared) for job in jobs)
    return Plan(checked, multirun, str(target), tuple(lines), launcher=launcher, settings=settings)


def _plan_resumption(
    composer: Composer, directory: Path, given: list[Override], multirun: bool
) -> Plan:
    """Return the plan to go on with the run in directory under its own settings."""
    keys = [override.key_or_group for override in given]
    for key in ("hydra.run.dir", "experiment", "study"):
        if key in keys:
            raise ConfigError(f"resume and {key} exclude each other: a run keeps its own")
    if multirun or any(override.is_sweep_override() for override in given):
        raise ConfigError(ONE_RUN)
    content = resume.find_run(directory)
    saved = resume.saved_overrides(content, keys, groups())
    try:
        composer.check([str(override.input_line) for override in composer.parse(saved)])
    except ConfigError as error:
        raise ConfigError(f"{content.path}: its settings cannot be used: {error}") from error
    lines = [*saved, *(str(override.input_line) for override in given)]
    config = composer.check(lines, basis=len(saved))
    _check_schedule(given, [config])
    resume.check_unchanged(content, config)
    finished = resume.is_finished(content, config)
    return Plan((config,), False, str(directory), tuple(lines), resumes=True, finished=finished)


def _resumed(overrides: Iterable[Override]) -> Path | None:
    """Return the folder of the run that is to be taken up again."""
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


def _check_schedule(given: Iterable[Override], jobs: Iterable[Config]) -> None:
    """Refuse a factor that no job's learning rate is ever multiplied by."""
    keys = [override.key_or_group for override in given]
    if "scheduler.gamma" in keys and all(job.scheduler.step_size is None for job in jobs):
        raise ConfigError(
            "scheduler.gamma needs scheduler=step, or scheduler.step_size=...: without it the "
            "learning rate never falls"
        )


def _check_sweeps(overrides: Iterable[Override]) -> None:
    for override in overrides:
        if override.is_interval_sweep():
            raise ConfigError(
                f"{override.input_line} gives an interval, and a sweep takes single values: "
                f"write {override.get_key_element()}=a,b,c"
            )


def _first_values(overrides: Iterable[Override]) -> list[str]:
    """Return the overrides with every sweep at its first value."""
    lines = []
    for override in overrides:
        if override.is_sweep_override():
            value = next(iter(override.sweep_string_iterator()), None)
            if value is None:
                raise ConfigError(f"{override.input_line} gives no value at all")
            lines.append(f"{override.get_key_element()}={value}")
        else:
            lines.append(str(override.input_line))
    return lines
