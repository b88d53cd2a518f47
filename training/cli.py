"""The command line: check everything, claim a folder, then let Hydra run the jobs.

A user's mistake ends with one line and status 2 before anything is written; Ctrl-C with one line
and status 130; any other exception is a defect of the program and keeps its traceback, as every
exception does with HYDRA_FULL_ERROR=1.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from training import directories, environment
from training.config import check, register
from training.errors import ConfigError
from training.overrides import CONFIG_DIRECTORY, CONFIG_NAME, make_plan, parse_arguments


def main() -> None:
    """Run what sys.argv asks for; exits with status 2 after a user's mistake."""
    show_all = bool(os.environ.get("HYDRA_FULL_ERROR"))
    # Hydra would otherwise print an exception itself, several lines long, and end the process.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        _main()
    except ConfigError as error:
        if show_all:
            raise
        print(f"train.py: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("train.py: interrupted", file=sys.stderr)
        sys.exit(130)


def _main() -> None:
    register()
    args = parse_arguments(sys.argv[1:])
    if not (args.hydra_help or args.shell_completion):
        plan = make_plan(args)
        if not (args.help or args.info or args.cfg):
            names = {job.backend.name for job in plan.jobs}
            environment.prepare_blas("numpy" if "numpy" in names else "torch")
            _check_jobs(plan.jobs)
            claimed = directories.claim(Path(plan.directory))
            key = "hydra.sweep.dir" if plan.multirun else "hydra.run.dir"
            sys.argv.append(f"{key}={_quote(str(claimed))}")
    hydra.main(str(CONFIG_DIRECTORY), CONFIG_NAME, version_base="1.3")(run_job)()


def run_job(composed: DictConfig) -> float:
    """Run one job in the folder Hydra has made for it; return its test accuracy."""
    from training.run import run

    return run(check(composed), Path(HydraConfig.get().runtime.output_dir)).test_accuracy


def _check_jobs(jobs: tuple) -> None:
    from training.run import check_job

    for job in jobs:
        check_job(job)


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
