"""A sweep: its jobs one after another in this process, and which of them have failed.

The trainer is imported late: NumPy must not start before the configuration has decided how.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from omegaconf import OmegaConf

from training import environment
from training.cli.job_folders import begin, discard, present
from training.cli.jobs import Request
from training.config.schema import ModelConfig
from training.errors import ConfigError, DivergenceError, RunError, StoppedError
from training.storage import run_folder
from training.storage.run_folder import FAILURE

#: Of the jobs that were not started.
MAX_NAMED = 5
SWEEP = "multirun.yaml"


def run_sweep(request: Request) -> int:
    """Run a sweep's jobs, report on them, and return the exit status.

    A job that fails does not stop the others, but for a mistake in the first one's settings: it
    ends the sweep before there is any result.

    Raises:
        ConfigError: for such a mistake.
        StoppedError: at a signal, with what was not started said.
    """
    from training.trainer.trainer import run

    leads, place = environment.rank() == 0, request.directory
    there = present(place)
    if leads:
        place = run_folder.claim(place, "hydra.sweep.dir")
        OmegaConf.save({"hydra": request.hydra}, place / SWEEP)
    failed: dict[Path, str] = {}
    introduced: list[ModelConfig] = []
    for number, job in enumerate(request.jobs):
        if leads:
            print(f"job {number + 1} of {len(request.jobs)}: {request.varied(job)}", flush=True)
        directory = begin(job, place / job.directory, "hydra.sweep.subdir")
        model = job.config.model
        try:
            run(job.config, directory, introduce=model not in introduced)
            introduced.append(model)
        except StoppedError:
            if leads:
                tell_not_started([request.varied(job) for job in request.jobs[number + 1 :]])
            raise
        except Exception as error:
            if number == 0 and isinstance(error, ConfigError):
                discard(directory, place.absolute())
                (place / SWEEP).unlink(missing_ok=True)
                discard(place, there)
                raise
            # Of several ranks, only a divergence is found by all.
            if environment.processes() > 1 and not isinstance(error, DivergenceError):
                raise
            failed[directory] = note(directory, error) if leads else ""
    return report(place, failed) if leads else 0


def report(place: Path, failed: Mapping[Path, str]) -> int:
    """Report on a sweep that is through; return its exit status."""
    from studies import sweep

    sweep.summarise(place)
    if not failed:
        return 0
    print(f"train.py: failed jobs: {len(failed)}, the others went on", file=sys.stderr)
    for path in sorted(failed):
        print(f"  {path}: {failed[path]}", file=sys.stderr)
    return 1


def note(directory: Path, error: Exception) -> str:
    """Say that a job has failed, write it to its folder, and return the reason."""
    expected = isinstance(error, (ConfigError, RunError))
    text = str(error).partition("\n")[0]
    reason = text if expected else f"{type(error).__name__}: {text}"
    details = "" if expected else "".join(traceback.format_exception(error))
    print(f"train.py: {directory.name} failed: {reason}", file=sys.stderr)
    with suppress(OSError):
        (directory / FAILURE).write_text(f"{reason}\n{details}", encoding="utf-8")
    return reason


def tell_not_started(settings: Iterable[str]) -> None:
    """Say which jobs a signal has kept from being started."""
    left = list(settings)
    if not left:
        return
    plural = "1 job was" if len(left) == 1 else f"{len(left)} jobs were"
    more = f" and {len(left) - MAX_NAMED} more" if len(left) > MAX_NAMED else ""
    named = f"{'; '.join(left[:MAX_NAMED])}{more}"
    print(f"train.py: {plural} not started: {named}", file=sys.stderr)
