"""What Hydra does itself: it shows a configuration, and starts a sweep's jobs elsewhere than here.

Its launchers start processes of their own, each of which composes its job anew.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from training.cli.request import Request
from training.cli.sweeps import note, report
from training.config import composition
from training.config.settings import quote
from training.environment import CONF
from training.storage.run_folder import FAILURE, claim, hold


def hand_over(arguments: list[str]) -> None:
    """Have Hydra do what the arguments say; its errors are raised."""
    composition.register()
    sys.argv[1:] = arguments
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or it would print an error itself and end the process
    hydra.main(str(CONF), composition.NAME, version_base="1.3")(run_job)()


def launch(request: Request, settings: list[str], options: list[str]) -> int:
    """Have Hydra run a sweep's jobs, of the command line's arguments; return the exit status."""
    with claim(request.directory, "hydra.sweep.dir", request.numbered) as place:
        pass
    hand_over([*settings, f"hydra.sweep.dir={quote(str(place))}", *options])
    files = place.absolute().rglob(FAILURE)
    return report(place, {f.parent: f.read_text("utf-8").partition("\n")[0] for f in files})


def run_job(composed: DictConfig) -> float:
    """Run one job in the folder that Hydra has made for it.

    Returns:
        The test accuracy; NaN for a job that failed, whose folder then says why.
    """
    from training.trainer.trainer import run

    directory = Path(HydraConfig.get().runtime.output_dir)
    try:
        with hold(directory):
            return run(composition.Composer().check(composed), directory)
    except Exception as error:
        note(directory, error)
        return float("nan")
