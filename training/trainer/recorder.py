"""The tables that grow while a run goes on, and TensorBoard's log.

metrics.csv: a row an epoch (`progress.Row`). steps.csv: step (counted from 1 over the whole run),
loss and accuracy, means over the images since the row before. evaluations.csv: step, epoch
(completed ones), train_accuracy and test_accuracy of the first `trainer.evaluation_samples` images
of each set, in evaluation mode; its first row is taken after the run's first step, as report R2
does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from training.backends.protocol import EpochPlan, Totals
from training.config.schema import Config
from training.storage.checkpoint import DAMAGED
from training.storage.files import copy
from training.storage.tables import EVALUATIONS, STEPS, Mark, Row, Table, salvage
from training.trainer.live_log import LiveLog
from training.trainer.progress import Progress

METRICS = "metrics.csv"


class Recorder:
    """Writes a run's tables and log.

    After a resumption the rows beyond the point where the run goes on are dropped: they are
    trained, and written, again. A table that is damaged by then is kept beside the new one.

    Args:
        config: the run's.
        directory: its folder, or None for a rank that writes nothing.
        rows: of the epochs that are behind it.
        marks: what the other tables were when it was saved, by file name.
    """

    def __init__(
        self,
        config: Config,
        directory: Path | None,
        rows: Sequence[Row],
        marks: Mapping[str, Mark] | None = None,
    ) -> None:
        self._config, self._directory, self._marks = config, directory, marks or {}
        self._seen = Totals()
        self._metrics: Table | None = None
        self._steps: Table | None = None
        self._evaluations: Table | None = None
        self._log: LiveLog | None = None
        self._opened = directory is None
        if directory is not None:
            done = [row.values().values() for row in rows]
            self._metrics = Table(directory / METRICS, Row.columns(), done)

    def begin_epoch(self, plan: EpochPlan, progress: Progress) -> list[str]:
        """Take note of the sums so far; return what is to be said of the tables found."""
        self._seen = progress.totals
        notes: list[str] = []
        if self._opened:
            return notes
        self._opened = True
        assert self._directory is not None
        done = plan.first_step + progress.step
        if self._config.trainer.log_every:
            self._steps = self._open("steps.csv", STEPS, done, notes)
        if self._config.trainer.evaluation_samples:
            self._evaluations = self._open("evaluations.csv", EVALUATIONS, done, notes)
        if self._config.logger.name == "tensorboard":
            self._log = LiveLog(self._directory / "tensorboard", done)
        return notes

    def after_steps(self, step: int, totals: Totals) -> None:
        """Add a row for the steps since the last one, up to a step of the run."""
        images = totals.images - self._seen.images
        loss = (totals.loss - self._seen.loss) / images
        accuracy = (totals.correct - self._seen.correct) / images
        self._seen = totals
        if self._steps:
            self._steps.append((step, f"{loss:.6g}", f"{accuracy:.6g}"))
        if self._log:
            self._log.scalar("step/loss", loss, step)
            self._log.scalar("step/accuracy", accuracy, step)

    def evaluation(self, step: int, epoch: int, train: float, test: float) -> None:
        """Add accuracies on samples of both sets after a step and so many epochs."""
        if self._evaluations:
            self._evaluations.append((step, epoch, f"{train:.6g}", f"{test:.6g}"))

    def end_epoch(self, row: Row, plan: EpochPlan) -> None:
        """Add an epoch."""
        if self._metrics:
            self._metrics.append(row.values().values())
        if self._log:
            for name, value in row.values().items():
                self._log.scalar(f"epoch/{name}", value, plan.first_step + plan.steps)
            self._log.flush()

    def marks(self) -> dict[str, Mark]:
        """Return what the tables that are resumed with the run are now, by file name."""
        tables = {"steps.csv": self._steps, "evaluations.csv": self._evaluations}
        return {name: table.mark() for name, table in tables.items() if table}

    def close(self) -> None:
        """Finish the log."""
        if self._log:
            self._log.close()

    def _open(self, name: str, header: Sequence[str], done: int, notes: list[str]) -> Table:
        """Return a table whose first column is the step, with the file's rows up to a step."""
        assert self._directory is not None
        path = self._directory / name
        rows: list[list[str]] = []
        if done and path.exists():
            rows, sound = salvage(path, header, done, self._marks.get(name))
            if not sound:
                aside = path.with_name(name + DAMAGED)
                copy(path, aside)
                notes.append(
                    f"{name} is damaged: continuing with its readable rows; the damaged file is "
                    f"kept as {aside.name}"
                )
        return Table(path, header, rows)
