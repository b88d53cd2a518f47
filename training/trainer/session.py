"""A run's training with everything that keeps it from being lost: saves, resumption, stops."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter

from training.backends.protocol import Backend, EpochPlan
from training.config.schema import Config, parse_interval
from training.data import Dataset
from training.errors import ConfigError, DivergenceError, StoppedError
from training.storage.checkpoint import (
    NAME,
    CheckpointError,
    load_checkpoint,
    newest,
    not_finite,
    set_aside,
)
from training.storage.files import remove_leftovers
from training.storage.tables import Table
from training.trainer import console, resume
from training.trainer.evaluation import Scores, score
from training.trainer.loop import (
    NonFiniteLossError,
    Progress,
    Rounds,
    Row,
    finish,
    finish_epoch,
    plan_epoch,
    train_steps,
)
from training.trainer.recorder import Recorder
from training.trainer.saved_run import Maker, SavedRun, describe
from training.trainer.signals import StopRequest


class Session:
    """Trains a placed backend to its last epoch in a folder that this process holds.

    Args:
        config: the run's.
        backend: which has the dataset's images.
        dataset: with the labels.
        directory: the run's folder.
        stop: tells of a signal.
        screen: where the run reports.
        notes: what is already known for the record.

    Attributes:
        progress: where the run stands.
        notes: what has happened to the run that a reader of its record has to know.
        saved: whether this folder holds a checkpoint of the run.
    """

    def __init__(
        self,
        config: Config,
        backend: Backend,
        dataset: Dataset,
        directory: Path,
        stop: StopRequest,
        screen: console.Screen | None = None,
        notes: Iterable[str] = (),
    ) -> None:
        self._config, self._backend, self._dataset = config, backend, dataset
        self._directory, self._stop = directory, stop
        self._screen = screen or console.Screen()
        self._interval = parse_interval(config.trainer.checkpoint_every)
        self._started, self._before = perf_counter(), 0.0
        self.progress = Progress()
        self.notes = list(notes)
        self.saved = False

    @property
    def seconds(self) -> float:
        """Return the time that the run has taken so far, in all its processes."""
        return self._before + perf_counter() - self._started

    @property
    def resume_command(self) -> str:
        """Return the command line that goes on with this run."""
        return resume.command(self._directory, self._config)

    def restore(self) -> None:
        """Go on from the folder's newest good checkpoint.

        Raises:
            ConfigError: if it does not fit this configuration; nothing has then been written.
        """
        try:
            checkpoint, passed_over = newest(self._directory, load_checkpoint)
            saved = SavedRun.of(checkpoint)
            self._take_over(saved)
        except (CheckpointError, ValueError) as error:
            raise ConfigError(f"resume={self._directory}: {error}") from error
        remove_leftovers(self._directory)
        if passed_over:
            self._say(f"{passed_over}: going on from the checkpoint before it")
            set_aside(self._directory / NAME)
        self.saved = True
        self._say(f"resumed {self._where()}")
        now = Maker.of(self._backend)
        if saved.maker != now:
            self._say(saved.maker.followed_by(now, self._config))

    def train(self) -> Scores:
        """Take all epochs that remain; return the scores after the last."""
        return finish(self.rounds())

    def rounds(self) -> Rounds[Scores]:
        """Do the same with pauses.

        Raises:
            StoppedError: after a signal; everything is then saved.
            DivergenceError: when the loss is no longer finite.
            OSError: if the results cannot be written.
        """
        # What a killed process wrote beyond its last checkpoint is trained, and written, again.
        done = [row.values().values() for row in self.progress.rows]
        self._log = Table(self._directory / "metrics.csv", Row.columns(), done)
        parts = self._config, self._backend, self._dataset, self._directory
        self._recorder = Recorder(*parts, self._say)
        self._outlook = console.Outlook(self._epochs, self.progress.epoch)
        scores = None
        try:
            while self.progress.epoch < self._epochs:
                scores = yield from self._epoch()
        except NonFiniteLossError as error:
            raise self._divergence(error.first, error.last) from error
        finally:
            self._recorder.close()
        return scores or score(self._backend.evaluate(), self._dataset.test_labels)

    @property
    def _epochs(self) -> int:
        assert self._config.trainer.epochs is not None
        return self._config.trainer.epochs

    def _epoch(self) -> Rounds[Scores]:
        progress, backend = self.progress, self._backend
        plan = plan_epoch(self._config, len(self._dataset.train_labels), progress.epoch)
        label = f"epoch {progress.epoch + 1}/{self._epochs}"
        with self._screen.bar(label, plan.steps, progress.step) as advance:
            backend.begin_epoch(plan, progress.totals)
            self._recorder.begin_epoch(plan, progress)

            def taken(steps: int) -> float:
                advance(steps)
                return self._recorder.after_steps(steps, plan)

            while progress.step < plan.steps:
                stop, look = self._pause(plan), self._recorder.look
                yield from train_steps(backend, progress, stop, taken, self._stop, look)
                if self._stop():
                    self._save()
                    raise self._stopped()
                if progress.step < plan.steps:
                    self._save()
            lr = backend.lr
            scores = finish_epoch(backend, self._dataset, progress)
        row = progress.rows[-1]
        if not math.isfinite(row.test_loss):
            progress.rows.pop()
            progress.epoch -= 1
            raise self._divergence(plan.steps, plan.steps, lr)
        self._recorder.end_epoch(row, scores)
        if self._due(plan) or self._stop() or progress.epoch == self._epochs:
            self._save()
        self._log.append(row.values().values())
        self._screen.say(self._outlook.line(progress.rows))
        if self._stop():
            raise self._stopped()
        return scores

    def _pause(self, plan: EpochPlan) -> int:
        """Return the step of this epoch at which to save next, or the epoch's end."""
        if self._interval.unit == "epoch":
            return plan.steps
        count, done = self._interval.number, plan.first_step + self.progress.step
        return min((done // count + 1) * count - plan.first_step, plan.steps)

    def _due(self, plan: EpochPlan) -> bool:
        """Return whether the end of the epoch that plan was for is a time to save."""
        in_steps = self._interval.unit == "step"
        done = plan.first_step + plan.steps if in_steps else self.progress.epoch
        return done % self._interval.number == 0

    def _save(self) -> None:
        state = self._backend.state()
        if not_finite(state):
            raise self._divergence(self.progress.step, self.progress.step)
        config, dataset = resume.record_of(self._config), describe(self._dataset)
        maker = Maker.of(self._backend)
        run = SavedRun(state, self.progress, config, dataset, maker, self.seconds, self.notes)
        run.save(self._directory / NAME)
        self.saved = True

    def _take_over(self, run: SavedRun) -> None:
        """Go on with a saved run.

        Raises:
            ValueError: if it does not fit this configuration.
        """
        changes = run.changes(self._config, self._dataset)
        words = ", ".join(map(str, changes))
        if changes and not self._config.resume_override:
            raise ValueError(f"{words}; add resume_override=true to go on all the same")
        stood = run.progress.step
        run.adapt(self._config, changes)
        plan = plan_epoch(self._config, len(self._dataset.train_labels), run.progress.epoch)
        if run.progress.step > plan.steps:
            raise ValueError(f"it stands at step {run.progress.step} of {plan.steps}")
        self._backend.load_state(run.state)
        self.progress, self._before = run.progress, run.seconds
        self.notes = [*run.notes, *self.notes]
        if changes:
            anew = f"; epoch {run.progress.epoch + 1} begins anew"
            self._say(f"resumed with changes: {words}{anew if run.progress.step < stood else ''}")

    def _where(self) -> str:
        progress = self.progress
        if progress.step:
            return f"in epoch {progress.epoch + 1} after step {progress.step}"
        if progress.epoch == self._epochs:
            return "after the last epoch"
        return (
            f"at the end of epoch {progress.epoch}" if progress.epoch else "before the first step"
        )

    def _say(self, note: str) -> None:
        self.notes.append(note)
        self._screen.say(note)

    def _stopped(self) -> StoppedError:
        assert self._stop.number is not None
        stopped = f"stopped by {self._stop.name} {self._where()}, all saved"
        return StoppedError(f"{stopped}; go on with: {self.resume_command}", self._stop.number)

    def _divergence(self, first: int, last: int, lr: float | None = None) -> DivergenceError:
        steps = f"step {last}" if first == last else f"steps {first} to {last}"
        remedy = "no checkpoint was saved before it: run it again with a smaller optimizer.lr"
        if self.saved:
            remedy = (
                f"the last good checkpoint is {self._directory / NAME}: go on from it with "
                f"{self.resume_command} resume_override=true optimizer.lr=..."
            )
        return DivergenceError(
            f"the loss is no longer finite in epoch {self.progress.epoch + 1}, {steps}, "
            f"at learning rate {self._backend.lr if lr is None else lr:.3g}; "
            f"{remedy}"
        )
