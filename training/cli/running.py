"""A sweep: its jobs, one after another in this process or side by side, and what became of them.

The trainer is imported late: NumPy must not start before the configuration has decided how.
"""

from __future__ import annotations

from pathlib import Path

from training import environment
from training.cli import reporting, side_by_side
from training.cli.job_folders import job_folder, sweep_folder
from training.cli.request import Request
from training.config.schema import ModelConfig
from training.errors import ConfigError, DivergenceError, ProcessError, StoppedError
from training.trainer.signals import StopRequest, listen


def run_sweep(request: Request) -> int:
    """Run what is to be done of a sweep, report on it, and return the exit status.

    A job that fails does not stop the others, but for a mistake in a new sweep's first one: it
    ends the sweep before there is any result.

    Raises:
        ConfigError: for such a mistake.
        StoppedError: at a signal, with what was not started said.
    """
    with sweep_folder(request) as place:
        if request.launcher == "joblib":
            failed = side_by_side.run_jobs(request, place)
        else:
            with listen(environment.rank()) as stop:  # also between two jobs
                failed = _run_in_turn(request, place, stop)
        return reporting.report(place, failed) if environment.rank() == 0 else 0


def _run_in_turn(request: Request, place: Path, stop: StopRequest) -> dict[Path, str]:
    """Run jobs one after another; return why those that failed did."""
    from training.trainer.trainer import run

    leads = environment.rank() == 0
    failed: dict[Path, str] = {}
    introduced: list[ModelConfig] = []
    for number, job in enumerate(request.jobs):
        if job.done:
            continue
        if leads:
            reporting.announce(request, job)
        model, first = job.config.model, number == 0 and not request.resumes
        directory = place / job.directory
        try:
            with job_folder(job, directory, "hydra.sweep.subdir", undo=first):
                run(job.config, directory, introduce=model not in introduced, stop=stop)
            introduced.append(model)
        except Exception as error:
            if first and isinstance(error, ConfigError):
                raise
            # Of several ranks, only a divergence is found by all.
            if environment.processes() > 1 and not isinstance(error, DivergenceError):
                raise
            failed[directory] = reporting.note(directory, error) if leads else ""
        except StoppedError as error:
            if isinstance(error, ProcessError) and environment.processes() == 1:
                failed[directory] = reporting.note(directory, error)
                continue
            if leads:
                reporting.tell_not_started(request, request.jobs[number + 1 :])
            command = reporting.how_to_go_on(request, place)
            raise StoppedError(error.what, error.number, command) from error
    return failed
