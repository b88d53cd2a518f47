"""What a run writes on the way besides metrics.csv: steps, evaluations on samples, TensorBoard.

steps.csv: step (counted from 1 over the whole run), loss and accuracy, means over the images since
the row before. evaluations.csv: step, epoch (completed ones), train_accuracy and test_accuracy of
the first `trainer.evaluation_samples` images of each set, in evaluation mode; its first row is
taken after the run's first step, as report R2 does.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from training.backend import Backend, EpochPlan, Totals
from training.config import Config
from training.csv_log import CsvLog
from training.data import Dataset
from training.evaluation import Scores, score
from training.live_log import LiveLog
from training.loop import Progress, Row

STEPS = ("step", "loss", "accuracy")
EVALUATIONS = ("step", "epoch", "train_accuracy", "test_accuracy")


class Recorder:
    """Writes a run's optional tables and log; with none asked for, it does nothing.

    After a resumption the rows beyond the point where the run goes on are dropped: they are
    trained, and written, again.
    """

    def __init__(self, config: Config, backend: Backend, dataset: Dataset, directory: Path) -> None:
        trainer = config.trainer
        self._backend, self._dataset, self._directory = backend, dataset, directory
        self._every, self._samples = trainer.log_every, trainer.evaluation_samples
        self._live = config.logger.name == "tensorboard"
        self._steps: CsvLog | None = None
        self._evaluations: CsvLog | None = None
        self._log: LiveLog | None = None
        self._opened = False

    def begin_epoch(self, plan: EpochPlan, progress: Progress) -> None:
        """Take note of where the run stands in an epoch's plan."""
        self._first, self._seen, self._last = plan.first_step, progress.totals, progress.step
        if self._opened:
            return
        self._opened = True
        done = plan.first_step + progress.step
        if self._every:
            self._steps = _opened(self._directory / "steps.csv", STEPS, done)
        if self._samples:
            self._evaluations = _opened(self._directory / "evaluations.csv", EVALUATIONS, done)
        if self._live:
            self._log = LiveLog(self._directory / "tensorboard", done)

    def after_steps(self, done: int, plan: EpochPlan) -> None:
        """Record the steps of the epoch up to the one numbered done."""
        before, self._last, now = self._last, done, self._first + done
        if self._evaluations and self._first + before == 0:
            scores = score(self._backend.evaluate(), self._dataset.test_labels)
            self._evaluate(now, 0, scores)
        if not self._every:
            return
        reached = now // self._every > (self._first + before) // self._every
        if reached or done == plan.steps:
            self._add_step(now)

    def end_epoch(self, row: Row, scores: Scores) -> None:
        """Record an epoch's row and the test scores it is made of."""
        step = self._first + self._last
        self._evaluate(step, row.epoch, scores)
        if self._log:
            for name, value in row.values().items():
                self._log.scalar(f"epoch/{name}", value, step)
            self._log.flush()

    def close(self) -> None:
        """Finish the log."""
        if self._log:
            self._log.close()

    def _add_step(self, step: int) -> None:
        totals = self._backend.totals()
        images = totals.images - self._seen.images
        loss = (totals.loss - self._seen.loss) / images
        accuracy = (totals.correct - self._seen.correct) / images
        self._seen = Totals(*totals)
        if self._steps:
            self._steps.append((step, f"{loss:.6g}", f"{accuracy:.6g}"))
        if self._log:
            self._log.scalar("step/loss", loss, step)
            self._log.scalar("step/accuracy", accuracy, step)

    def _evaluate(self, step: int, epoch: int, scores: Scores) -> None:
        if not self._evaluations:
            return
        labels = self._dataset.train_labels[: self._samples]
        train = score(self._backend.evaluate(self._samples), labels).accuracy
        right = scores.predictions[: self._samples] == self._dataset.test_labels[: self._samples]
        self._evaluations.append((step, epoch, f"{train:.6g}", f"{right.mean():.6g}"))


def _opened(path: Path, header: Sequence[str], done: int) -> CsvLog:
    """Return a log whose first column is the step, with the file's lines up to a step."""
    rows: list[list[str]] = []
    if done and path.exists():
        with path.open(newline="") as file:
            _, *rows = csv.reader(file)
    kept = (row for row in rows if len(row) == len(header) and int(row[0]) <= done)
    return CsvLog(path, header, kept)
