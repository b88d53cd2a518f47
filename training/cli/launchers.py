"""What Hydra does itself: it shows a configuration, and starts jobs elsewhere than here.

Its launchers start processes of their own, each of which composes its job anew.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from training.cli.reporting import note, report
from training.cli.request import Request
from training.config import composition
from training.config.checks import check
from training.config.settings import quote
from training.environment import CONF
from training.storage.run_folder import FAILURE, claim, hold


def hand_over(arguments: list[str]) -> None:
    """Have Hydra do what the arguments say; its errors are raised."""
    composition.register()
    sys.argv[1:] = arguments
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or it would print an error itself and end the process
    hydra.main(str(CONF), composition.NAME, version_base="1.3")(run_job)()


def launch(request: Request, options: list[str]) -> int:
    """Have Hydra run the jobs, with the command line's options; return the exit status."""
    place, settings = request.directory, ["hydra.output_subdir=null"] if request.resumes else []
    key = "hydra.sweep.dir" if request.sweep else "hydra.run.dir"
    if not request.resumes:
        with claim(place, key, request.numbered) as place:
            pass
    hand_over([*request.lines, *settings, f"{key}={quote(str(place))}", *options])
    if not request.sweep:
        return 0
    files = place.absolute().rglob(FAILURE)
    return report(place, {f.parent: f.read_text("utf-8").partition("\n")[0] for f in files})


def run_job(composed: DictConfig) -> float:
    """Run one job in the folder that Hydra has made for it; return its test accuracy.

    Returns:
        NaN for a job of a sweep that failed; its folder then says why.
    """
    from training.trainer.trainer import run

    job = HydraConfig.get()
    directory = Path(job.runtime.output_dir)
    try:
        with hold(directory):
            return run(check(composed), directory)
    except Exception as error:
        if job.mode != RunMode.MULTIRUN:
            raise
        note(directory, error)
        return float("nan")
