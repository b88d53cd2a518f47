"""One run: resume if asked, fit, and leave the results in the run's folder.

Every rank runs this program; rank 0 alone prints and writes. Whatever is decided on the way (to
stop, to save, that the loss has diverged) follows from numbers that all ranks have, so that all
decide alike.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np

from training.backends.opening import all_ranks, open_backend, process_ranks
from training.backends.protocol import EpochPlan
from training.backends.ranks import Ranks
from training.config.limits import parse_interval
from training.config.schema import DEFAULT_EPOCHS, Config
from training.data import Dataset
from training.errors import StoppedError
from training.trainer import signals
from training.trainer.console import Console, heading
from training.trainer.dataset import load
from training.trainer.evaluation import Scores, score
from training.trainer.plan import plan_epoch
from training.trainer.progress import Recorder
from training.trainer.record import RunRecord


def run(
    config: Config,
    directory: Path,
    stop: signals.StopRequest | None = None,
    label: str = "",
) -> float:
    """Train, print, and leave the results in directory; return the test accuracy.

    Args:
        config: checked.
        directory: the run's own folder, which this process holds.
        stop: what a signal to another process is known by.
        label: begins every line that is printed.

    Raises:
        ConfigError: for what a user can repair.
        OutputError: if the results cannot be written.
        DivergenceError: if the loss becomes infinite or not a number.
        ProcessError: if another rank is gone.
        StoppedError: after a signal that asks for it; everything is then saved.
    """
    ranks = process_ranks()
    dataset = load(config, ranks)
    chosen = "as asked"
    if config.trainer.epochs is None:
        chosen, epochs = f"the default for {dataset.name}", DEFAULT_EPOCHS[dataset.name]
        config = replace(config, trainer=replace(config.trainer, epochs=epochs))
    program = partial(train, directory=directory, chosen=chosen, label=label, stop=stop)
    with all_ranks(program, config, dataset, ranks) as ranks:
        return program(config, dataset, ranks)


def train(
    config: Config,
    dataset: Dataset,
    ranks: Ranks,
    directory: Path,
    chosen: str,
    label: str,
    stop: signals.StopRequest | None = None,
) -> float:
    """Train as one of the ranks; see `run`."""
    backend = open_backend(config, ranks)
    backend.place(dataset)
    console = Console(silent=ranks.rank > 0, label=label)
    # What diverges is told in one sentence, not by NumPy line by line.
    with np.errstate(all="ignore"), signals.listen(ranks.rank, stop) as stop:
        record = RunRecord(config, backend, dataset, ranks, directory, console)
        with record.accounted():
            console.say(heading(config, backend, chosen))
            if config.resume is not None:
                record.restore()
            record.begin()
            scores = Trainer(record, stop).fit()
            record.finish(scores)
    if stop.number:
        raise StoppedError(f"{stop.name} arrived after the run had finished", stop.number)
    return scores.accuracy


class Trainer:
    """Trains a network to its last epoch, or until a signal asks it to stop."""

    def __init__(self, record: RunRecord, stop: signals.StopRequest) -> None:
        self.record, self.stop, self.console = record, stop, record.console
        self.config, self.epochs = record.config, record.epochs
        self.backend, self.dataset, self.ranks = record.backend, record.dataset, record.ranks
        self.progress = record.progress
        self.every, self.unit = parse_interval(self.config.trainer.checkpoint_every)

    # Training

    def fit(self) -> Scores:
        """Train to the last epoch; return the scores of the test images after it."""
        record = self.record
        place = record.directory if record.writes else None
        self.recorder = Recorder(self.config, place, self.progress)
        self.console.begin(self.epochs, self.progress.epoch)
        scores = None
        while self.progress.epoch < self.epochs:
            plan = plan_epoch(self.config, len(self.dataset.train_labels), self.progress.epoch)
            self.train_epoch(plan)
            scores = self.evaluate()
            self.end_epoch(plan, scores)
        return scores or self.evaluate()

    def train_epoch(self, plan: EpochPlan) -> None:
        """Take the epoch's remaining steps; record and save what is due on the way."""
        progress = self.progress
        self.backend.begin_epoch(plan, progress.totals)
        drawn = self.console.bar(f"epoch {progress.epoch + 1}/{self.epochs}", plan, progress)
        with drawn as bar:
            while not (stopping := self._stopping()) and progress.step < plan.steps:
                self._take_steps(plan)
                bar(progress.step)
                self._record_steps(plan)
                if progress.step < plan.steps and self._due(plan):
                    self.record.save()
        if stopping:
            self.record.save()
            raise self.record.stopped(self.stop)

    def _take_steps(self, plan: EpochPlan) -> None:
        """Take steps up to the next at which there is something else to do."""
        progress, first, started = self.progress, self.progress.step, perf_counter()
        progress.step = self._next_pause(plan)
        self.backend.train(first, progress.step)
        totals = self.backend.totals()
        if not math.isfinite(totals.loss):
            raise self.record.diverged(first + 1)
        progress.totals = totals
        progress.seconds += perf_counter() - started

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
            raise self.record.diverged(plan.steps)
        self._record_evaluation(plan, scores, progress.epoch + 1)
        row = progress.complete(self.backend.lr, scores)
        self.backend.end_epoch()
        stopping = self._stopping()
        if stopping or progress.epoch == self.epochs or self._due(plan, ended=True):
            self.record.save()
        self.recorder.write("metrics", row)
        self.console.epoch(progress.metrics)
        if stopping:
            raise self.record.stopped(self.stop)

    # When to pause, and what for

    def _next_pause(self, plan: EpochPlan) -> int:
        """Return the step of the epoch after which to look, record, save, or begin the next."""
        trainer, done = self.config.trainer, plan.first_step + self.progress.step
        pauses = [plan.first_step + plan.steps, done + self.backend.steps_per_call]
        every = [self.every] if self.unit == "step" else []
        every += [trainer.log_every] if trainer.log_every else []
        pauses += [(done // steps + 1) * steps for steps in every]
        if trainer.evaluation_samples and done == 0:
            pauses.append(1)
        return min(pauses) - plan.first_step

    def _due(self, plan: EpochPlan, ended: bool = False) -> bool:
        """Return whether to save now, in the middle of the plan's epoch or when it has ended."""
        if self.unit == "epoch":
            return ended and self.progress.epoch % self.every == 0
        done = plan.steps if ended else self.progress.step
        return (plan.first_step + done) % self.every == 0

    def _stopping(self) -> bool:
        return self.ranks.any(self.stop.number > 0)

    def _record_steps(self, plan: EpochPlan) -> None:
        """Record what is due after the step that has been taken last."""
        progress, step = self.progress, plan.first_step + self.progress.step
        if step == 1 and self.config.trainer.evaluation_samples:
            self._record_evaluation(plan, self.evaluate(), epoch=0)
        every = self.config.trainer.log_every
        if every and (step % every == 0 or progress.step == plan.steps):
            self.recorder.after_steps(step)

    def _record_evaluation(self, plan: EpochPlan, scores: Scores, epoch: int) -> None:
        """Record the accuracies on the first images of both sets, if that is asked for."""
        samples = self.config.trainer.evaluation_samples
        if samples:
            train = self.evaluate(samples).accuracy
            right = scores.predictions[:samples] == self.dataset.test_labels[:samples]
            step = plan.first_step + self.progress.step
            self.recorder.evaluation(step, epoch, train, float(right.mean()))
