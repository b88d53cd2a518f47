"""What a command line asks for: checked jobs, all of them before anything runs."""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import OmegaConf

from training.cli import resumption
from training.cli.request import Job, Request, folder, is_inside, make_job
from training.config.composition import Composer, composer
from training.config.settings import flatten
from training.config.suggestions import groups
from training.errors import ConfigError


def read(args: argparse.Namespace) -> Request:
    """Compose and check every job of the command line."""
    with composer() as opened:
        overrides = opened.parse(args.overrides)
        _check(overrides)
        resumed = resumption.resumed_folder(overrides)
        if resumed is None:
            request = _new_runs(opened, overrides, args.multirun)
        else:
            request = resumption.request(opened, resumed, overrides, args.multirun)
    keys = [override.key_or_group for override in overrides]
    schedules = [job.config.scheduler for job in request.jobs]
    if "scheduler.gamma" in keys and all(each.step_size is None for each in schedules):
        raise ConfigError("scheduler.gamma needs scheduler=step, or scheduler.step_size=...")
    return request


def _new_runs(opened: Composer, overrides: list[Override], multirun: bool) -> Request:
    whole = opened.compose(next(expand(overrides)))
    hydra = whole.hydra
    if not (multirun or hydra.mode == RunMode.MULTIRUN):
        for override in overrides:
            if override.is_sweep_override():
                line = override.input_line
                raise ConfigError(f"{line} gives several values: add --multirun to run them all")
        job = make_job(opened, whole)
        return Request([job], False, job.directory, notes=tuple(opened.notes))
    place = folder(hydra.sweep.dir, "hydra.sweep.dir")
    swept = opened.parse([f"{k}={v}" for k, v in (hydra.sweeper.params or {}).items()])
    _check(swept)
    # Hydra's own order: the command line wins over the file's parameters.
    jobs = []
    for number, lines in enumerate(expand([*swept, *overrides])):
        composed = opened.compose(lines)
        OmegaConf.copy_cache(whole, composed)  # one time, `${now:...}`, for all jobs
        jobs.append(make_job(opened, composed, number))
    _check_folders(jobs)
    return Request(jobs, True, place, notes=tuple(opened.notes))


def _check(overrides: Iterable[Override]) -> None:
    """Refuse what gives no list of values, and a group's name, which would not be what runs."""
    for override in overrides:
        key, option = override.key_or_group, str(override.input_line).partition("=")[2]
        group, _, name = key.rpartition(".")
        if (name == "name" and group in groups()) or key == "hydra.launcher":
            group = group if name == "name" else "hydra/launcher"
            raise ConfigError(f"{key} is not a setting: write {group}={option}")
        if override.is_interval_sweep():
            raise ConfigError(f"{override.input_line} gives an interval: write {key}=a,b,c")
        if override.is_sweep_override() and override.is_hydra_override():
            raise ConfigError(f"{override.input_line}: Hydra's own settings cannot be swept over")
        if not _values(override):
            raise ConfigError(f"{override.input_line} gives no value at all")


def expand(overrides: Sequence[Override]) -> Iterator[list[str]]:
    """Yield each job's settings; the first key varies slowest, a key's last override counts."""
    values = {override.get_key_element(): _values(override) for override in overrides}
    yield from map(list, itertools.product(*values.values()))


def _values(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [str(override.input_line)]
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def _check_folders(jobs: Iterable[Job]) -> None:
    """Refuse a sweep of which two jobs would write to one folder, or one elsewhere."""
    names = [job.directory for job in jobs]
    for name in names:
        if not is_inside(name):
            raise ConfigError(f"hydra.sweep.subdir must be inside the sweep's folder, not {name}")
        if names.count(name) > 1:
            words = f"hydra.sweep.subdir gives several jobs the folder {name}"
            raise ConfigError(f"{words}: leave it out, or have it contain ${{hydra:job.num}}")


def told(request: Request) -> bytes:
    """Return what the other ranks have to know of rank 0's request."""
    jobs = [(flatten(asdict(job.config)), job.done) for job in request.jobs]
    return json.dumps([jobs, request.sweep]).encode()


def follow(content: bytes) -> Request:
    """Return rank 0's request, composed anew on another rank, from what `told` says of it."""
    told, sweep = json.loads(content)
    with composer() as opened:
        jobs = [
            make_job(opened, opened.restore(settings), number if sweep else None, done=done)
            for number, (settings, done) in enumerate(told)
        ]
    return Request(jobs, sweep, Path())
