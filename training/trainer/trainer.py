"""One run: resume if asked, fit, and leave the results in the run's folder.

Every rank runs this program; rank 0 alone prints and writes. Whatever is decided on the way (to
stop, to save, that the loss has diverged) follows from numbers that all ranks have, so that all
decide alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import NoReturn

import numpy as np

from training.backends.launch import all_ranks, process_ranks
from training.backends.opening import open_backend
from training.backends.protocol import Backend, EpochPlan
from training.backends.ranks import Ranks
from training.config.limits import parse_interval
from training.config.schema import DEFAULT_EPOCHS, Config
from training.data import Dataset
from training.errors import (
    DivergenceError,
    OutputError,
    ProcessError,
    StoppedError,
    cannot_write,
)
from training.storage.checkpoint import NAME, not_finite
from training.storage.run_folder import hold
from training.storage.tables import Mark
from training.trainer import artefacts, resume, signals
from training.trainer.console import Console, heading
from training.trainer.dataset import load
from training.trainer.evaluation import Scores, score
from training.trainer.live_log import check_logger
from training.trainer.plan import plan_epoch
from training.trainer.progress import Progress, epoch_row
from training.trainer.recorder import Recorder
from training.trainer.saved_run import Provenance, SavedRun, clean_up, describe, newest_run


def run(config: Config, directory: Path, introduce: bool = True) -> float:
    """Train, print, and leave the results in directory; return the test accuracy.

    Args:
        config: checked.
        directory: the run's own folder.
        introduce: whether to print the network's table.

    Raises:
        ConfigError: for what a user can repair.
        OutputError: if the results cannot be written.
        DivergenceError: if the loss becomes infinite or not a number.
        ProcessError: if another rank is gone.
        StoppedError: after SIGINT or SIGTERM; everything is then saved.
    """
    ranks = process_ranks()
    check_logger(config)
    dataset = load(config, ranks)
    chosen = "as asked"
    if config.trainer.epochs is None:
        chosen, epochs = f"the default for {dataset.name}", DEFAULT_EPOCHS[dataset.name]
        config = replace(config, trainer=replace(config.trainer, epochs=epochs))
    program = partial(train, directory=directory, chosen=chosen, introduce=introduce)
    with all_ranks(program, config, dataset, ranks) as ranks:
        return program(config, dataset, ranks)


def train(
    config: Config, dataset: Dataset, ranks: Ranks, directory: Path, chosen: str, introduce: bool
) -> float:
    """Train as one of the ranks; see `run`."""
    backend = open_backend(config, ranks)
    backend.place(dataset)
    console = Console(silent=ranks.rank > 0)
    folder = hold(directory) if ranks.rank == 0 else nullcontext()
    # What diverges is told in one sentence, not by NumPy line by line.
    with folder, np.errstate(all="ignore"), signals.listen(ranks.rank) as stop:
        trainer = Trainer(config, backend, dataset, ranks, directory, stop, console)
        with trainer.accounted():
            console.say(heading(config, backend, chosen, introduce))
            if config.resume is not None:
                trainer.restore()
            trainer.begin()
            scores = trainer.fit()
            trainer.finish(scores)
    if stop.number is not None:
        raise StoppedError(f"{stop.name} came when the run was already finished", stop.number)
    return scores.accuracy


class Trainer:
    """Trains a network to its last epoch.

    Args:
        config: the run's, with its number of epochs.
        backend: which has the dataset's images.
        dataset: with the labels.
        ranks: those that share the run.
        directory: its folder, which rank 0 holds.
        stop: tells of a signal.
        console: where the run reports.

    Attributes:
        progress: where the run stands.
        notes: what has happened to it that a reader of its record has to know.
        saved: whether the folder holds a checkpoint of it.
    """

    def __init__(
        self,
        config: Config,
        backend: Backend,
        dataset: Dataset,
        ranks: Ranks,
        directory: Path,
        stop: signals.StopRequest,
        console: Console,
    ) -> None:
        assert config.trainer.epochs is not None
        self.config, self.backend, self.dataset = config, backend, dataset
        self.ranks, self.directory, self.stop, self.console = ranks, directory, stop, console
        self.epochs: int = config.trainer.epochs
        self.interval = parse_interval(config.trainer.checkpoint_every)
        self.progress = Progress()
        self.notes: list[str] = []
        self.marks: dict[str, Mark] = {}
        self.saved = False
        self.writes = ranks.rank == 0
        self._started, self._seconds_before = perf_counter(), 0.0
        self._looked = 0

    @property
    def seconds(self) -> float:
        """Return the time that the run has taken so far, earlier processes' included."""
        return self._seconds_before + perf_counter() - self._started

    # Training

    def fit(self) -> Scores:
        """Train to the last epoch; return the scores of the test images after it."""
        place = self.directory if self.writes else None
        self.recorder = Recorder(self.config, place, self.progress.rows, self.marks)
        self.console.begin(self.epochs, self.progress.epoch)
        scores = None
        try:
            while self.progress.epoch < self.epochs:
                plan = plan_epoch(self.config, len(self.dataset.train_labels), self.progress.epoch)
                self.train_epoch(plan)
                scores = self.evaluate()
                self.end_epoch(plan, scores)
        finally:
            self.recorder.close()
        return scores or self.evaluate()

    def train_epoch(self, plan: EpochPlan) -> None:
        """Take the epoch's remaining steps; record and save what is due on the way."""
        progress = self.progress
        self.backend.begin_epoch(plan, progress.totals)
        self._looked = progress.step
        for note in self.recorder.begin_epoch(plan, progress):
            self.say(note)
        with self.console.bar(f"epoch {progress.epoch + 1}/{self.epochs}", plan, progress) as bar:
            while not (stopping := self._stopping()) and progress.step < plan.steps:
                self._take_steps(plan)
                bar(progress.step)
                self._record_steps(plan)
                if progress.step < plan.steps and self._due(plan):
                    self.save()
        if stopping:
            self.save()
            raise self._stopped()

    def _take_steps(self, plan: EpochPlan) -> None:
        """Take steps up to the next at which there is something else to do."""
        progress, started = self.progress, perf_counter()
        last = self._next_pause(plan)
        self.backend.train(progress.step, last)
        progress.step = last
        if self.backend.device == "cpu" or last == plan.steps:
            self._look()
        progress.seconds += perf_counter() - started

    def _look(self) -> None:
        """Bring the epoch's sums up to date, for which a GPU has to be waited for."""
        progress = self.progress
        if self._looked == progress.step:
            return
        totals = self.backend.totals()
        if not math.isfinite(totals.loss):
            self._diverged(self._looked + 1)
        progress.totals, self._looked = totals, progress.step

    def evaluate(self, first_training: int | None = None) -> Scores:
        """Return the test images' scores, or those of the first training images."""
        labels = self.dataset.test_labels
        if first_training is not None:
            labels = self.dataset.train_labels[:first_training]
        return score(self.backend.evaluate(first_training), labels)

    def end_epoch(self, plan: EpochPlan, scores: Scores) -> None:
        """Record the epoch, advance the schedule, and save where it is due."""
        progress = self.progress
        if not math.isfinite(scores.loss):
            self._diverged(plan.steps)
        row = epoch_row(progress, self.backend.lr, scores)
        self._record_evaluation(plan, scores, row.epoch)
        self.backend.end_epoch()
        progress.complete(row)
        self._looked = 0
        stopping = self._stopping()
        if stopping or progress.epoch == self.epochs or self._due(plan, ended=True):
            self.save()
        self.recorder.end_epoch(row, plan)
        self.console.epoch(progress.rows)
        if stopping:
            raise self._stopped()

    # When to pause, and what for

    def _next_pause(self, plan: EpochPlan) -> int:
        """Return the step of the epoch after which to look, record, save, or begin the next."""
        trainer, done = self.config.trainer, plan.first_step + self.progress.step
        pauses = [plan.first_step + plan.steps, done + self.backend.steps_per_call]
        every = [self.interval.number] if self.interval.unit == "step" else []
        every += [trainer.log_every] if trainer.log_every else []
        pauses += [(done // steps + 1) * steps for steps in every]
        if trainer.evaluation_samples and done == 0:
            pauses.append(1)
        return min(pauses) - plan.first_step

    def _due(self, plan: EpochPlan, ended: bool = False) -> bool:
        """Return whether to save now, in the middle of the plan's epoch or when it has ended."""
        if self.interval.unit == "epoch":
            return ended and self.progress.epoch % self.interval.number == 0
        done = plan.steps if ended else self.progress.step
        return (plan.first_step + done) % self.interval.number == 0

    def _stopping(self) -> bool:
        return self.ranks.any(self.stop.requested)

    def _record_steps(self, plan: EpochPlan) -> None:
        """Record what is due after the step that has been taken last."""
        progress, step = self.progress, plan.first_step + self.progress.step
        if step == 1 and self.config.trainer.evaluation_samples:
            self._look()
            self._record_evaluation(plan, self.evaluate(), epoch=0)
        every = self.config.trainer.log_every
        if every and (step % every == 0 or progress.step == plan.steps):
            self._look()
            self.recorder.after_steps(step, progress.totals)

    def _record_evaluation(self, plan: EpochPlan, scores: Scores, epoch: int) -> None:
        """Record the accuracies on the first images of both sets, if that is asked for."""
        samples = self.config.trainer.evaluation_samples
        if samples:
            train = self.evaluate(samples).accuracy
            right = scores.predictions[:samples] == self.dataset.test_labels[:samples]
            step = plan.first_step + self.progress.step
            self.recorder.evaluation(step, epoch, train, float(right.mean()))

    # Saving and going on

    def restore(self) -> None:
        """Go on from the folder's newest good checkpoint.

        Raises:
            ConfigError: if it does not fit this configuration; nothing has then been written.
        """
        saved, passed_over = newest_run(self.directory, self.ranks)
        words, anew = saved.load_into(self.config, self.dataset, self.backend)
        self.progress, self._seconds_before = saved.progress, saved.seconds
        self.notes, self.marks = list(saved.notes), saved.marks
        if self.writes:
            clean_up(self.directory, passed_over)
        self.saved = True
        if words:
            again = f"; epoch {self.progress.epoch + 1} begins anew" if anew else ""
            self.say(f"resumed with changes: {words}{again}")
        if passed_over:
            self.say(f"{passed_over}: going on from the checkpoint before it")
        self.say(f"resumed {self.progress.where(self.epochs)}")
        now = Provenance.of(self.backend, self.ranks)
        if saved.maker != now:
            self.say(saved.maker.followed_by(now, self.config))

    def begin(self) -> None:
        """Write the run's settings into its folder."""
        if self.writes:
            artefacts.save_config(self.directory, self.config)

    def save(self) -> None:
        """Write a checkpoint.

        Raises:
            DivergenceError: if a weight is not finite; the checkpoint before is then kept.
            OSError: if it cannot be written.
        """
        self._look()
        state = self.backend.state()
        if not_finite(state):
            self._diverged(self.progress.step)
        if self.writes:
            config, dataset = resume.record_of(self.config), describe(self.dataset)
            maker, marks = Provenance.of(self.backend, self.ranks), self.recorder.marks()
            saved = SavedRun(
                state, self.progress, config, dataset, maker, self.seconds, self.notes, marks
            )
            saved.save(self.directory / NAME)
        self.saved = True

    def finish(self, scores: Scores) -> None:
        """Leave weights, pictures and the summary of a finished run in its folder."""
        if not self.writes:
            return
        artefacts.save_weights(self.directory, self.backend.weights(), self.config.model)
        parts = self.config, self.backend.name, self.dataset, self.progress.rows, scores
        artefacts.draw(self.directory, *parts)
        self._summarise("finished")
        accuracy, images = f"{scores.accuracy * 100:.2f} %", len(self.dataset.test_labels)
        self.console.say(
            f"test accuracy {accuracy} ({self.dataset.name}, {images} images)\n{self.directory}"
        )

    @contextmanager
    def accounted(self) -> Iterator[None]:
        """Give whatever ends the run early its remedy, and the folder a summary that says so."""
        try:
            yield
        except ProcessError as error:
            reason = f"{error}; {self._remedy()}"
            self._summarise("interrupted", reason)
            raise ProcessError(reason) from error
        except StoppedError as error:
            self._summarise("interrupted", str(error))
            raise
        except DivergenceError as error:
            self._summarise("diverged", str(error))
            raise
        except OSError as error:
            message = cannot_write(error, self.directory)
            if message is None:
                raise
            raise OutputError(f"{message}; {self._remedy()}") from error

    def say(self, note: str) -> None:
        """Print a line that a reader of the run's record has to know, too."""
        self.notes.append(note)
        self.console.say(note)

    # What ends a run early

    def _stopped(self) -> StoppedError:
        """Return what tells of the signal; a rank that got none follows the one that did."""
        where = self.progress.where(self.epochs)
        stopped = f"stopped by {self.stop.name} {where}, all saved"
        message = f"{stopped}; go on with: {resume.command(self.directory, self.config)}"
        return StoppedError(message, self.stop.number or signals.SIGTERM)

    def _diverged(self, first: int) -> NoReturn:
        last, lr = self.progress.step, self.backend.lr
        steps = f"step {last}" if first == last else f"steps {first} to {last}"
        remedy = "no checkpoint was saved before it: run it again with a smaller optimizer.lr"
        if self.saved:
            command = resume.command(self.directory, self.config)
            remedy = (
                f"the last good checkpoint is {self.directory / NAME}: go on from it with "
                f"{command} resume_override=true optimizer.lr=..."
            )
        raise DivergenceError(
            f"the loss is no longer finite in epoch {self.progress.epoch + 1}, {steps}, "
            f"at learning rate {lr:.3g}; {remedy}"
        )

    def _remedy(self) -> str:
        if not self.saved:
            return "nothing of the run was saved before"
        command = resume.command(self.directory, self.config)
        return f"the last checkpoint is good; go on with: {command}"

    def _summarise(self, status: str, reason: str = "") -> None:
        """Write summary.json; where even that cannot be written, what ended the run is told."""
        if not self.writes:
            return
        summary = artefacts.Summary.of(
            self.config, self.backend, self.dataset, self.progress.rows, self.notes, self.seconds
        )
        with nullcontext() if status == "finished" else suppress(OSError):
            replace(summary, status=status, reason=reason).save(self.directory)
