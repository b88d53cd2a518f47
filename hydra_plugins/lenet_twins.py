"""A sweep's launcher that trains its jobs together, found by Hydra in this folder.

`hydra/launcher=together` chooses it; training/together.py says what it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


class TogetherLauncher(Launcher):
    """Has Hydra make every job's folder and files, and then trains all jobs."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what the jobs have in common; the task itself is not called."""
        self._context, self._config = hydra_context, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs; each returns its test accuracy, or NaN where it failed."""
        from training import together

        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        jobs: list[together.Job] = []

        def enrol(composed: DictConfig) -> None:
            directory = Path(HydraConfig.get().runtime.output_dir)
            jobs.append(together.Job.of(composed, directory))

        returns = []
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            config = self._context.config_loader.load_sweep_config(self._config, list(overrides))
            with open_dict(config):
                config.hydra.job.id = config.hydra.job.num = number
            made = run_job(enrol, config, "hydra.sweep.dir", "hydra.sweep.subdir", self._context)
            _ = made.return_value  # raises what went wrong
            returns.append(made)
        for made, accuracy in zip(returns, together.train(jobs), strict=True):
            made.return_value = accuracy
        return returns
