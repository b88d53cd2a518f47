"""The tables (`storage.tables`) that grow while a run goes on, and TensorBoard's log."""

from __future__ import annotations

from pathlib import Path

from training.backends.protocol import EpochPlan
from training.config.schema import Config
from training.storage.tables import EVALUATIONS, STEPS, Numbers, Row, Table
from training.trainer.live_log import LiveLog
from training.trainer.progress import Progress


class Recorder:
    """Adds rows to a run's progress, and writes them to its tables and log.

    The tables are written anew from the progress where a run begins or goes on: what a killed
    process left in them beyond its last save is trained, and written, again.

    Args:
        config: the run's.
        directory: its folder, or None for a rank that writes nothing.
        progress: where the run stands.
    """

    def __init__(self, config: Config, directory: Path | None, progress: Progress) -> None:
        self._config, self._directory, self._progress = config, directory, progress
        self._tables: dict[str, Table] = {}
        self._log: LiveLog | None = None
        if directory is None:
            return
        rows = [row.values().values() for row in progress.metrics]
        self._tables["metrics"] = Table(directory / "metrics.csv", Row.columns(), rows)
        trainer = config.trainer
        for name, columns, done, wanted in (
            ("steps", STEPS, progress.steps, trainer.log_every),
            ("evaluations", EVALUATIONS, progress.evaluations, trainer.evaluation_samples),
        ):
            if done or wanted:
                self._tables[name] = Table(directory / f"{name}.csv", columns, map(_cells, done))

    def begin_epoch(self, plan: EpochPlan) -> None:
        """Open the log where it is asked for and not open yet."""
        if self._directory and self._config.logger.name == "tensorboard" and not self._log:
            done = plan.first_step + self._progress.step
            self._log = LiveLog(self._directory / "tensorboard", done)

    def after_steps(self, step: int) -> None:
        """Add a row for the steps since the last one, up to a step of the run."""
        progress, totals = self._progress, self._progress.totals
        images = totals.images - progress.recorded.images
        loss = (totals.loss - progress.recorded.loss) / images
        accuracy = (totals.correct - progress.recorded.correct) / images
        progress.recorded = totals
        progress.steps.append((step, loss, accuracy))
        if "steps" in self._tables:
            self._tables["steps"].append(_cells(progress.steps[-1]))
        if self._log:
            self._log.scalar("step/loss", loss, step)
            self._log.scalar("step/accuracy", accuracy, step)

    def evaluation(self, step: int, epoch: int, train: float, test: float) -> None:
        """Add accuracies on samples of both sets after a step and so many epochs."""
        self._progress.evaluations.append((step, epoch, train, test))
        if "evaluations" in self._tables:
            self._tables["evaluations"].append(_cells((step, epoch, train, test)))

    def end_epoch(self, row: Row, plan: EpochPlan) -> None:
        """Write an epoch that has been completed."""
        if "metrics" in self._tables:
            self._tables["metrics"].append(row.values().values())
        if self._log:
            for name, value in row.values().items():
                self._log.scalar(f"epoch/{name}", value, plan.first_step + plan.steps)
            self._log.flush()

    def close(self) -> None:
        """Finish the log."""
        if self._log:
            self._log.close()


def _cells(row: Numbers) -> list[str]:
    return [f"{value:.6g}" if value % 1 else str(int(value)) for value in row]
