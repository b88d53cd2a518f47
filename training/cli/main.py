"""The command line: check everything, claim a folder, then let Hydra run the jobs.

A user's mistake ends with one line and status 2 before anything is written. A run that cannot go
on ends with one line and status 1 (its results cannot be written) or 3 (it diverged), a signal
with 130 or 143. In a sweep such a job does not stop the others: all are listed at the end, with
status 1. Any other exception is a defect of the program and keeps its traceback, as every exception
does with HYDRA_FULL_ERROR=1.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from training import environment
from training.cli import failures
from training.cli.composer import CONFIG_DIRECTORY, CONFIG_NAME
from training.cli.plan import Plan, make_plan, parse_arguments
from training.config.check import check
from training.config.schema import register
from training.errors import ConfigError, RunError, StoppedError, cannot_write
from training.storage import run_folder
from training.trainer.resume import quote

SEQUENTIAL = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
SLURM = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"

#: The folders of the jobs that this process has begun.
_begun: list[Path] = []


def main() -> None:
    """Run what sys.argv asks for; exits with a status above 0 when it cannot be done."""
    if environment.rank():
        from training.backends.torch.leader import follow

        follow()
    show_all = bool(os.environ.get("HYDRA_FULL_ERROR"))
    # Hydra would otherwise print an exception itself, several lines long, and end the process.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with _followers():
            _main()
        sys.stdout.flush()
    except (ConfigError, RunError) as error:
        if show_all:
            raise
        _end(str(error), getattr(error, "exit_status", 2))
    except StoppedError as stop:
        _end(str(stop), stop.exit_status)
    except KeyboardInterrupt:
        _end("interrupted before there was anything to save", 130)
    except OSError as error:
        message = cannot_write(error)
        if show_all or message is None:
            raise
        _end(message, 1)


def run_job(composed: DictConfig) -> float:
    """Run one job in the folder Hydra has made for it; return its test accuracy.

    Returns:
        NaN for a job that failed; `failures` then knows why.
    """
    from training.trainer.run import run

    hydra_config = HydraConfig.get()
    directory = Path(hydra_config.runtime.output_dir)
    _begun.append(directory)
    try:
        return run(check(composed), directory)
    except Exception as error:
        failures.note(directory, error, sweep=hydra_config.mode == RunMode.MULTIRUN)
        return float("nan")


def _main() -> None:
    register()
    args = parse_arguments(sys.argv[1:])
    # Hydra wants all settings together, and takes one that follows --info for what to inform of.
    options = _without(sys.argv[1:], args.overrides)
    sys.argv[1:] = [*args.overrides, *options]
    if args.hydra_help or args.shell_completion:
        return _hand_over()
    plan = make_plan(args)
    _check_processes(plan)
    if args.help or args.info or args.cfg:
        return _hand_over()
    _check_launcher(plan)
    if plan.finished:
        return _tell_finished(plan)
    names = {job.backend.name for job in plan.jobs}
    environment.prepare_blas("numpy" if "numpy" in names else "torch")
    _check_jobs(plan)
    place, settings = _place(plan)
    sys.argv[1:] = [*plan.overrides, *settings, *options]
    failures.forget()
    _run_jobs(plan)
    if plan.multirun:
        from studies import sweep

        sweep.report(place)
    failures.report(place, plan.multirun)
    return None


def _tell_finished(plan: Plan) -> None:
    (job,) = plan.jobs
    epochs = job.trainer.epochs or 0
    print(
        f"{plan.directory} already has its {epochs} epoch{'' if epochs == 1 else 's'}, nothing is "
        "left to do: "
        f"trainer.epochs={2 * epochs} goes on to twice as many"
    )


def _run_jobs(plan: Plan) -> None:
    _begun.clear()
    try:
        _hand_over()
    except StoppedError:
        if plan.multirun and plan.launcher == SEQUENTIAL:
            left = plan.settings[len(_begun) :]
            failures.tell_not_started(len(left), left)
        raise


def _followers() -> AbstractContextManager:
    """Return the block in which other processes, if there are any, may be needed."""
    if environment.processes() == 1:
        return nullcontext()
    from training.backends.torch.leader import followers

    return followers()


def _check_processes(plan: Plan) -> None:
    count = environment.processes()
    if count == 1:
        return
    if any(job.backend.name == "numpy" for job in plan.jobs):
        raise ConfigError(
            f"backend=numpy trains in one process, not in {count}: leave torchrun out, or use "
            "backend=torch"
        )
    if plan.multirun and plan.launcher != SEQUENTIAL:
        name = plan.launcher.rpartition(".")[2].removesuffix("Launcher").lower()
        raise ConfigError(
            f"hydra/launcher={name} cannot use the {count} processes that torchrun has started: "
            "leave one of them out"
        )


def _check_launcher(plan: Plan) -> None:
    if plan.multirun and plan.launcher == SLURM and shutil.which("srun") is None:
        raise ConfigError(
            "hydra/launcher=slurm needs the command srun, which is not found: start the sweep on a "
            "Slurm cluster, or use hydra/launcher=submitit_local on this machine"
        )


def _place(plan: Plan) -> tuple[Path, list[str]]:
    """Return the folder, claimed unless it is a resumed run's, and what makes Hydra use it."""
    if plan.resumes:
        # .hydra stays what it was when the run began; config.yaml says what it has become.
        settings = [f"hydra.run.dir={quote(plan.directory)}", "hydra.output_subdir=null"]
        return Path(plan.directory), settings
    key = "hydra.sweep.dir" if plan.multirun else "hydra.run.dir"
    claimed = run_folder.claim(Path(plan.directory), key)
    return claimed, [f"{key}={quote(str(claimed))}"]


def _hand_over() -> None:
    hydra.main(str(CONFIG_DIRECTORY), CONFIG_NAME, version_base="1.3")(run_job)()


def _without(arguments: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Return the options alone."""
    options = list(arguments)
    for override in overrides:
        options.remove(override)
    return options


def _check_jobs(plan: Plan) -> None:
    from training.trainer.run import check_job

    for job in plan.jobs:
        check_job(job)


def _end(message: str, status: int) -> None:
    try:
        print(f"train.py: {message}", file=sys.stderr)
        sys.stdout.flush()
    except OSError:
        # What standard output still holds cannot be written: keep Python from trying again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(status)
