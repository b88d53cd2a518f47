"""What a run writes on the way besides metrics.csv: steps, evaluations on samples, TensorBoard.

steps.csv: step (counted from 1 over the whole run), loss and accuracy, means over the images since
the row before. evaluations.csv: step, epoch (completed ones), train_accuracy and test_accuracy of
the first `trainer.evaluation_samples` images of each set, in evaluation mode; its first row is
taken after the run's first step, as report R2 does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

from training.backends.protocol import Backend, EpochPlan, Totals
from training.config.schema import Config
from training.data import Dataset
from training.storage.checkpoint import DAMAGED
from training.storage.files import copy
from training.storage.tables import EVALUATIONS, STEPS, Table, salvage
from training.trainer.evaluation import Scores, score
from training.trainer.live_log import LiveLog
from training.trainer.loop import Progress, Row


class Recorder:
    """Writes a run's optional tables and log; with none asked for, it does nothing.

    After a resumption the rows beyond the point where the run goes on are dropped: they are
    trained, and written, again. A table that is damaged by then is kept beside the new one.

    Args:
        config: the run's.
        backend: which trains.
        dataset: with the labels.
        directory: the run's folder.
        say: takes what a reader of the run's record has to know.
    """

    def __init__(
        self,
        config: Config,
        backend: Backend,
        dataset: Dataset,
        directory: Path,
        say: Callable[[str], object],
    ) -> None:
        trainer = config.trainer
        self._backend, self._dataset, self._directory = backend, dataset, directory
        self._say = say
        self._every, self._samples = trainer.log_every, trainer.evaluation_samples
        self._live = config.logger.name == "tensorboard"
        self._steps: Table | None = None
        self._evaluations: Table | None = None
        self._log: LiveLog | None = None
        self._opened = False

    def begin_epoch(self, plan: EpochPlan, progress: Progress) -> None:
        """Take note of where the run stands in an epoch's plan."""
        self._first, self._seen, self._last = plan.first_step, progress.totals, progress.step
        self._steps_in_epoch = plan.steps
        if self._opened:
            return
        self._opened = True
        done = plan.first_step + progress.step
        if self._every:
            self._steps = self._open("steps.csv", STEPS, done)
        if self._samples:
            self._evaluations = self._open("evaluations.csv", EVALUATIONS, done)
        if self._live:
            self._log = LiveLog(self._directory / "tensorboard", done)

    def look(self, done: int) -> int:
        """Return the step of the epoch after which to record next, where so many are done."""
        taken = self._first + done
        if self._samples and taken == 0:
            return 1
        if self._every:
            return done + self._every - taken % self._every
        return self._steps_in_epoch

    def after_steps(self, done: int, plan: EpochPlan) -> float:
        """Record the steps of the epoch up to the one numbered done.

        Returns:
            The seconds in which the network was evaluated.
        """
        before, self._last, now = self._last, done, self._first + done
        spent = 0.0
        if self._evaluations and self._first + before == 0:
            self._backend.totals()  # the steps themselves are no part of it
            started = perf_counter()
            scores = score(self._backend.evaluate(), self._dataset.test_labels)
            self._evaluate(now, 0, scores)
            spent = perf_counter() - started
        if self._every and (now % self._every == 0 or done == plan.steps):
            self._add_step(now)
        return spent

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

    def _open(self, name: str, header: Sequence[str], done: int) -> Table:
        """Return a log whose first column is the step, with the file's rows up to a step."""
        path = self._directory / name
        rows: list[list[str]] = []
        if done and path.exists():
            rows, sound = salvage(path, header, done)
            if not sound:
                aside = path.with_name(name + DAMAGED)
                copy(path, aside)
                self._say(
                    f"{name} is damaged: going on with the rows that can be read; as it was it is "
                    f"kept as {aside.name}"
                )
        return Table(path, header, rows)

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
