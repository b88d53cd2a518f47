"""The command line: find out what is asked for, run it, and turn errors into exit statuses.

A user's mistake ends with one line and status 2 before anything is written. A run that cannot go
on ends with one line and status 1 (its results cannot be written) or 3 (it diverged), a signal
with 130 or 143. In a sweep such a job does not stop the others: all are listed at the end, with
status 1. Any other exception is a defect of the program and keeps its traceback, as every exception
does with HYDRA_FULL_ERROR=1.

Under torchrun every rank comes through here, on rank 0's settings; rank 0 alone speaks, unless it
is another one alone that fails.
"""

from __future__ import annotations

import argparse
import atexit
import codecs
import io
import os
import shutil
import sys
import time
import traceback
from typing import NoReturn

from training import environment
from training.cli import jobs
from training.cli.arguments import parse
from training.cli.launchers import hand_over, launch
from training.cli.request import Request
from training.cli.sweeps import run_sweep
from training.config.composition import adapted
from training.errors import ConfigError, RunError, StoppedError, cannot_write, in_one_line
from training.storage.run_folder import MARK, folder

#: How long another rank waits for rank 0 to say what both have found: torchrun ends all of them
#: with the first.
PATIENCE = 5.0
#: For encodings that lack them.
_PLAIN = {"×": "x", "±": "+-", "ε": "eps"}


def main() -> None:
    """Run what sys.argv asks for; exits with a status above 0 when it cannot be done."""
    show_all = bool(os.environ.get("HYDRA_FULL_ERROR"))
    _open_streams()
    try:
        status = _main()
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        known = _known(error)
        if environment.rank() > 0:
            _end_rank(error, known, show_all)
        if known is None or (show_all and not isinstance(error, KeyboardInterrupt)):
            raise
        message, status = known
        _say(message)
    if environment.rank() > 0:
        # Torch's threads have been seen to abort an interpreter that was being torn down, and with
        # it a job of which rank 0 was still drawing the pictures.
        atexit._run_exitfuncs()
        os._exit(status)
    if status:
        sys.exit(status)


def _main() -> int:
    args = parse(sys.argv[1:])
    # Hydra wants all settings together, and takes one that follows --info for what to inform of.
    options = [argument for argument in sys.argv[1:] if argument not in args.overrides]
    shows = args.help or args.info or args.cfg
    if args.hydra_help or shows:
        if environment.rank() == 0:
            if shows:
                jobs.read(args)
            hand_over([*adapted(args.overrides), *options])
        return 0
    request = _request(args)
    if all(job.done for job in request.jobs):
        if environment.rank() == 0:
            epochs = request.jobs[0].config.trainer.epochs or 0
            more = "" if request.sweep else f": trainer.epochs={2 * epochs} trains twice as long"
            print(f"{request.directory} has all its results, nothing is left to do{more}")
        return 0
    if environment.rank() == 0 and request.notes:
        print(*request.notes, sep="\n")
    numpy = any(job.config.backend.name == "numpy" for job in request.jobs)
    environment.prepare_blas("numpy" if numpy else "torch")
    if not request.here:
        return launch(request, args.overrides, options)
    if request.sweep:
        return run_sweep(request)
    from training.trainer.trainer import run  # NumPy's BLAS is prepared

    (job,) = request.jobs
    with folder(job.directory, "hydra.run.dir", job.begin, request.numbered) as directory:
        run(job.config, directory)
    return 0


def _request(args: argparse.Namespace) -> Request:
    """Return what is asked for; every rank composes for itself what rank 0 has found sound."""
    request = None
    if environment.rank() == 0:
        request = jobs.read(args)
        _check_resources(request)
        if environment.processes() == 1:
            return request
    from training.backends.opening import process_ranks

    content = process_ranks().broadcast_bytes(jobs.told(request) if request else b"")
    return request or jobs.follow(content)


def _check_resources(request: Request) -> None:
    """Find out whether the processes and the launcher that the jobs need are there."""
    processes, launcher, job = environment.processes(), request.launcher, request.hydra.job
    if processes > 1 and any(job.config.backend.name == "numpy" for job in request.jobs):
        raise ConfigError(
            f"backend=numpy trains in one process, not in {processes}: leave torchrun out, or use "
            "backend=torch"
        )
    if request.here and any((request.hydra.callbacks, job.chdir, job.env_set, job.env_copy)):
        settings = "hydra.callbacks, hydra.job.chdir, env_set and env_copy"
        raise ConfigError(f"{settings} are not supported: leave them out")
    if request.hydra.output_subdir not in (None, str(MARK.parent)):
        raise ConfigError(f"hydra.output_subdir is {MARK.parent} or null here: leave it out")
    if not request.sweep:
        return
    if processes > 1 and launcher != "basic":
        raise ConfigError(f"hydra/launcher={launcher} cannot be used with torchrun: leave one out")
    if launcher == "joblib":
        count = request.hydra.launcher.n_jobs
        if not isinstance(count, int) or count == 0:
            wanted = "a number of jobs, or -1 for as many as there are cores"
            raise ConfigError(f"hydra.launcher.n_jobs must be {wanted}, not {count}")
    elif request.resumes and not request.here:
        raise ConfigError(f"hydra/launcher={launcher} cannot resume a sweep: leave it out")
    elif request.notes and not request.here:
        words = f"hydra/launcher={launcher} takes experiments as they are"
        raise ConfigError(f"{words} ({request.notes[0]}): leave it out")
    elif launcher == "slurm" and shutil.which("srun") is None:
        raise ConfigError(
            "hydra/launcher=slurm needs the command srun, which is not found: "
            "use hydra/launcher=submitit_local on this machine"
        )


def _open_streams() -> None:
    """Have output be possible: closed streams lead nowhere, and what has no code is spelt out."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:  # or a file of results would take it
        pass
    os.close(handle)
    codecs.register_error("spell", _spell)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="spell")


def _spell(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return _PLAIN.get(error.object[error.start], "?"), error.start + 1


def _known(error: BaseException) -> tuple[str, int] | None:
    """Return what to say of an error and the exit status, or None for a defect's."""
    if isinstance(error, (RunError, StoppedError)):
        return str(error), error.exit_status
    if isinstance(error, KeyboardInterrupt):
        return "interrupted before there was anything to save", 130
    if isinstance(error, FileNotFoundError) and error.filename is None:  # os.getcwd's
        return "the folder in which this command was started is gone: change to another", 2
    if isinstance(error, OSError):
        message = cannot_write(error)
        return None if message is None else (message, 1)
    return (str(error), 2) if isinstance(error, ConfigError) else None


def _end_rank(error: BaseException, known: tuple[str, int] | None, show_all: bool) -> NoReturn:
    """End a rank other than 0; say why as far as rank 0 does not."""
    if show_all:
        traceback.print_exception(error)
    message, status = known or (in_one_line(error), 1)
    if known:
        time.sleep(PATIENCE)
    if not isinstance(error, KeyboardInterrupt):
        _say(f"rank {environment.rank()}: {message}")
    # Waiting for others, as an ordinary exit may, would hold up the end of the job.
    os._exit(status)


def _say(message: str) -> None:
    try:
        print(f"train.py: {message}", file=sys.stderr, flush=True)
        sys.stdout.flush()
    except OSError:
        # What standard output still holds cannot be written: keep Python from trying again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
