"""What is said of a sweep: its jobs, which have failed or were not started, how to go on."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from training.cli.request import Job, Request
from training.errors import ConfigError, RunError, StoppedError
from training.storage.run_folder import FAILURE
from training.trainer import resume

#: Of the jobs that were not started.
MAX_NAMED = 5


def announce(request: Request, job: Job) -> None:
    """Say which of a sweep's jobs begins."""
    number = 1 + request.jobs.index(job)
    print(f"job {number} of {len(request.jobs)}: {request.varied(job)}", flush=True)


def report(place: Path, failed: Mapping[Path, str]) -> int:
    """Report on a sweep that is through; return its exit status."""
    from studies import sweep

    sweep.summarise(place)
    if not failed:
        return 0
    print(f"train.py: failed jobs: {len(failed)}, the others continued", file=sys.stderr)
    for path in sorted(failed):
        print(f"  {path}: {failed[path]}", file=sys.stderr)
    return 1


def note(directory: Path, error: BaseException) -> str:
    """Say that a job has failed, write it to its folder, and return the reason."""
    expected = isinstance(error, (ConfigError, RunError, StoppedError))
    text = str(error).partition("\n")[0]
    reason = text if expected else f"{type(error).__name__}: {text}"
    details = "" if expected else "".join(traceback.format_exception(error))
    print(f"train.py: {directory.name} failed: {reason}", file=sys.stderr)
    with suppress(OSError):
        (directory / FAILURE).write_text(f"{reason}\n{details}", encoding="utf-8")
    return reason


def tell_not_started(request: Request, jobs: Sequence[Job]) -> None:
    """Say which jobs a signal has kept from being started."""
    left = [request.varied(job) for job in jobs if not job.done]
    if not left:
        return
    plural = "1 job was" if len(left) == 1 else f"{len(left)} jobs were"
    more = f" and {len(left) - MAX_NAMED} more" if len(left) > MAX_NAMED else ""
    named = f"{'; '.join(left[:MAX_NAMED])}{more}"
    print(f"train.py: {plural} not started: {named}", file=sys.stderr)


def how_to_go_on(request: Request, place: Path) -> str:
    """Return the command that goes on with a sweep, as many jobs at a time as before."""
    settings = []
    if request.launcher == "joblib":
        count = request.hydra.launcher.n_jobs
        settings = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={count}"]
    return resume.command(place, request.jobs[0].config, *settings)
