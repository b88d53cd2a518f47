"""A sweep: its jobs, one after another here or several at a time, and what became of them.

Several at a time (`hydra/launcher=joblib`) have a process each. The first process then trains
nothing: it starts the others, alone answers signals, and waits. A signal reaches the jobs through a
number in shared memory, so that they save and stop as a single run does. Whatever ends the first
process ends them all.

The trainer is imported late: NumPy must not start before the configuration has decided how.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from training import environment
from training.child_processes import follow_parent, signals_held, start_method
from training.cli import resumption
from training.cli.request import Job, Request
from training.errors import (
    ConfigError,
    DivergenceError,
    ProcessError,
    RunError,
    StoppedError,
    in_one_line,
    is_expected,
)
from training.storage.run_folder import FAILURE, folder
from training.trainer import resume
from training.trainer.signals import StopRequest, listen

#: Of the jobs that were not started.
MAX_NAMED = 5


def run_sweep(request: Request) -> int:
    """Run what is to be done of a sweep, report on it, and return the exit status.

    A job that fails does not stop the others, but for a mistake in a new sweep's first one: it
    ends the sweep before there is any result. A signal ends it by StoppedError when the jobs under
    way have saved, and what was not started is said.
    """
    new = None if request.resumes else partial(resumption.save_jobs, request.jobs)
    with folder(request.directory, "hydra.sweep.dir", new, request.numbered) as place:
        if request.launcher == "joblib":
            failed = run_side_by_side(request, place)
        else:
            with listen(environment.rank()) as stop:  # also between two jobs
                failed = _run_in_turn(request, place, stop)
        return report(place, failed) if environment.rank() == 0 else 0


def _run_in_turn(request: Request, place: Path, stop: StopRequest) -> dict[Path, str]:
    """Run jobs one after another; return why those that failed did."""
    from training.trainer.trainer import run

    leads = environment.rank() == 0
    failed: dict[Path, str] = {}
    for number, job in enumerate(request.jobs):
        if job.done:
            continue
        if leads:
            _announce(request, job)
        first, directory = number == 0 and not request.resumes, place / job.directory
        try:
            with folder(directory, "hydra.sweep.subdir", job.begin, undo=first):
                run(job.config, directory, stop)
        except Exception as error:
            if first and isinstance(error, ConfigError):
                raise
            # Of several ranks, only a divergence is found by all.
            if environment.processes() > 1 and not isinstance(error, DivergenceError):
                raise
            failed[directory] = note(directory, error) if leads else ""
        except StoppedError as error:
            if isinstance(error, ProcessError) and environment.processes() == 1:
                failed[directory] = note(directory, error)
                continue
            if leads:
                _tell_not_started(request, request.jobs[number + 1 :])
            raise StoppedError(error.what, error.number, _command(request, place)) from error
    return failed


def run_side_by_side(request: Request, place: Path) -> dict[Path, str]:
    """Run jobs several at a time, as `_run_in_turn`; one whose process is killed fails alone."""
    count = request.hydra.launcher.n_jobs
    if count < 0:
        count = max(1, environment.available_cores() + 1 + count)
    context: Any = multiprocessing.get_context(start_method())
    waiting = deque(job for job in request.jobs if not job.done)
    running: dict[BaseProcess, Path] = {}
    failed: dict[Path, str] = {}
    with listen() as stop:
        while running or (waiting and not stop.number):
            while waiting and len(running) < count and not stop.number:
                job = waiting.popleft()
                _announce(request, job)
                label = f"job {1 + request.jobs.index(job)}: "
                directory = place / job.directory
                process = context.Process(
                    target=_work, args=(job, directory, stop, label, os.getpid())
                )
                with signals_held():
                    process.start()
                running[process] = directory
            ready = wait([process.sentinel for process in running])
            for process in [each for each in running if each.sentinel in ready]:
                directory = running.pop(process)
                if reason := _reason(process, directory):
                    failed[directory] = reason
    if stop.number:
        _tell_not_started(request, list(waiting))
        what = f"stopped by {stop.name}, all running jobs are saved"
        raise StoppedError(what, stop.number, _command(request, place))
    return failed


def _work(job: Job, directory: Path, stop: StopRequest, label: str, parent: int) -> None:
    """Run one job; end with status 1 if it fails, when its folder says why."""
    follow_parent(parent)
    from training.trainer.trainer import run

    try:
        with folder(directory, "hydra.sweep.subdir", job.begin, undo=False):
            run(job.config, directory, stop, label)
    except (Exception, ProcessError) as error:
        note(directory, error)
        sys.exit(1)
    except StoppedError:
        pass


def _reason(process: BaseProcess, directory: Path) -> str:
    """Return why a job failed, once its process has ended; "" if it did not."""
    process.join()
    status = process.exitcode or 0
    if status < 0:
        killed = f"its process was killed by {signal.Signals(-status).name}"
        hint = ", as the system does when memory runs out" if status == -9 else ""
        return note(directory, RunError(f"{killed}{hint}"))
    if status == 0:
        return ""
    try:
        return (directory / FAILURE).read_text("utf-8").partition("\n")[0]
    except OSError:
        return f"its process ended with status {status}"


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
    reason = in_one_line(error)
    details = "" if is_expected(error) else "".join(traceback.format_exception(error))
    print(f"train.py: {directory.name} failed: {reason}", file=sys.stderr)
    with suppress(OSError):
        (directory / FAILURE).write_text(f"{reason}\n{details}", encoding="utf-8")
    return reason


def _announce(request: Request, job: Job) -> None:
    number = 1 + request.jobs.index(job)
    print(f"job {number} of {len(request.jobs)}: {request.varied(job)}", flush=True)


def _tell_not_started(request: Request, jobs: Sequence[Job]) -> None:
    """Say which jobs a signal has kept from being started."""
    left = [request.varied(job) for job in jobs if not job.done]
    if not left:
        return
    plural = "1 job was" if len(left) == 1 else f"{len(left)} jobs were"
    more = f" and {len(left) - MAX_NAMED} more" if len(left) > MAX_NAMED else ""
    named = f"{'; '.join(left[:MAX_NAMED])}{more}"
    print(f"train.py: {plural} not started: {named}", file=sys.stderr)


def _command(request: Request, place: Path) -> str:
    """Return the command that goes on with a sweep, as many jobs at a time as before."""
    settings = []
    if request.launcher == "joblib":
        count = request.hydra.launcher.n_jobs
        settings = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={count}"]
    return resume.command(place, request.jobs[0].config, *settings)
