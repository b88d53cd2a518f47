"""A sweep's jobs several at a time, each in a process of its own: `hydra/launcher=joblib`.

The first process trains nothing: it starts the others, alone answers signals, and waits. A signal
reaches the jobs through a number in shared memory, so that they save and stop as a single run does.
Whatever ends the first process ends them all.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections import deque
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from training.child_processes import follow_parent, signals_held, start_method
from training.cli.job_folders import job_folder
from training.cli.reporting import announce, how_to_go_on, note, tell_not_started
from training.cli.request import Job, Request
from training.config.schema import ModelConfig
from training.environment import available_cores
from training.errors import ProcessError, RunError, StoppedError
from training.storage.run_folder import FAILURE
from training.trainer.signals import SharedStopRequest, StopRequest, listen


def run_jobs(request: Request, place: Path) -> dict[Path, str]:
    """Run what is to be done of a sweep; return why the jobs that failed did.

    A job whose process is killed fails alone.

    Raises:
        StoppedError: at a signal, when the jobs under way have saved.
    """
    count = request.hydra.launcher.n_jobs
    if count < 0:
        count = max(1, available_cores() + 1 + count)
    waiting = deque(job for job in request.jobs if not job.done)
    running: dict[BaseProcess, Path] = {}
    failed: dict[Path, str] = {}
    introduced: list[ModelConfig] = []
    with listen(request=SharedStopRequest()) as stop:
        while running or (waiting and not stop.requested):
            while waiting and len(running) < count and not stop.requested:
                job = waiting.popleft()
                announce(request, job)
                introduce = job.config.model not in introduced
                introduced.append(job.config.model)
                label = f"job {1 + request.jobs.index(job)}: "
                directory = place / job.directory
                running[_start(job, directory, introduce, stop, label)] = directory
            ready = wait([process.sentinel for process in running])
            for process in [each for each in running if each.sentinel in ready]:
                directory = running.pop(process)
                if reason := _reason(process, directory):
                    failed[directory] = reason
    if stop.number is not None:
        tell_not_started(request, list(waiting))
        what = f"stopped by {stop.name}, all running jobs are saved"
        raise StoppedError(what, stop.number, how_to_go_on(request, place))
    return failed


def _start(*arguments: Any) -> BaseProcess:
    """Begin a job in a process of its own: `_work` with these arguments."""
    context: Any = multiprocessing.get_context(start_method())
    process: BaseProcess = context.Process(target=_work, args=(*arguments, os.getpid()))
    with signals_held():
        process.start()
    return process


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


def _work(
    job: Job, directory: Path, introduce: bool, stop: StopRequest, label: str, parent: int
) -> None:
    """Run one job; end with status 1 if it fails, when its folder says why."""
    follow_parent(parent)
    from training.trainer.trainer import run

    try:
        with job_folder(job, directory, "hydra.sweep.subdir", undo=False):
            run(job.config, directory, introduce, stop, label)
    except (Exception, ProcessError) as error:
        note(directory, error)
        sys.exit(1)
    except StoppedError:
        pass
