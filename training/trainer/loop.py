"""The training loop, the same for both backends."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from training.backends.protocol import Backend, EpochPlan, Totals
from training.backends.streams import stream
from training.config.schema import Config
from training.data import Dataset, epoch_batches, flip_decisions
from training.storage.tables import Row
from training.trainer.evaluation import Scores, score

Result = TypeVar("Result")

#: A run under way. It pauses whenever it has asked its backend for steps and not yet looked at
#: them, so that runs that share a device can have theirs taken together; it says where it stands,
#: and takes the seconds that its steps needed in the pause.
Rounds = Generator["Progress", float | None, Result]


class NonFiniteLossError(ArithmeticError):
    """The loss became infinite or not a number in one of the epoch's steps first..last."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__(f"the loss is not finite between steps {first} and {last}")
        self.first, self.last = first, last


@dataclass
class Progress:
    """Where a run stands: with the backend's state, all that is needed to go on from here.

    Attributes:
        epoch: epochs completed.
        step: steps done in the epoch under way.
        totals: its sums so far.
        seconds: its training time so far.
        rows: the completed epochs.
    """

    epoch: int = 0
    step: int = 0
    totals: Totals = field(default_factory=Totals)
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)

    def to_record(self) -> dict[str, Any]:
        """Return all but the rows as JSON values."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "totals": list(self.totals),
            "seconds": self.seconds,
        }

    def table(self) -> NDArray[np.float64]:
        """Return the rows, float64 (epochs, columns), from which they come back bit for bit."""
        rows = [list(row.values().values()) for row in self.rows]
        return np.array(rows, np.float64).reshape(len(rows), len(Row.columns()))

    @classmethod
    def from_record(cls, record: dict[str, Any], table: NDArray[np.float64]) -> Progress:
        """Return what gave record and table.

        Raises:
            ValueError: if they are no progress.
        """
        counts = [record.get("epoch"), record.get("step")]
        totals, seconds = record.get("totals"), record.get("seconds")
        sound = (
            all(type(count) is int and count >= 0 for count in counts)
            and isinstance(totals, list)
            and [type(value) for value in totals] == [float, int, int]
            and type(seconds) is float
            and table.dtype == np.float64
            and table.shape == (counts[0], len(Row.columns()))
            and [int(row[0]) for row in table] == list(range(1, len(table) + 1))
        )
        if not sound:
            raise ValueError("it does not say where its run stood")
        rows = [Row(int(row[0]), *row[1:].tolist()) for row in table]
        assert isinstance(totals, list)
        return cls(record["epoch"], record["step"], Totals(*totals), record["seconds"], rows)


def plan_epoch(config: Config, count: int, epoch: int) -> EpochPlan:
    """Draw the order and the flips of an epoch (counted from 0) over count training images."""
    order = stream(config.seed, "order", epoch)
    trainer, sampling = config.trainer, config.data.sampling
    batches = epoch_batches(count, trainer.batch_size, sampling, order, trainer.steps_per_epoch)
    indices = np.concatenate(batches)
    flips = None
    if config.data.flip:
        augment = stream(config.seed, "augment", epoch)
        flips = flip_decisions(len(indices), config.data.flip, augment)
    offsets = np.cumsum([0, *map(len, batches)])
    return EpochPlan(indices, offsets, flips, first_step=epoch * len(batches))


def finish(rounds: Rounds[Result]) -> Result:
    """Take a run by itself from pause to pause to its end; return what it returns."""
    while True:
        try:
            next(rounds)
        except StopIteration as end:
            return end.value


def train_epoch(
    backend: Backend, plan: EpochPlan, progress: Progress, advance: Callable[[int], float | None]
) -> None:
    """Take the epoch's remaining steps; advance is as in `train_steps`."""
    backend.begin_epoch(plan, progress.totals)
    finish(train_steps(backend, progress, plan.steps, advance))


def train_steps(
    backend: Backend,
    progress: Progress,
    stop: int,
    advance: Callable[[int], float | None],
    stopping: Callable[[], bool] = lambda: False,
    look: Callable[[int], int] | None = None,
) -> Rounds[None]:
    """Take the epoch's steps from where progress stands up to stop.

    Args:
        backend: which has the epoch's plan.
        progress: brought up to date when this returns or raises.
        stop: number of steps that are to be done in the epoch.
        advance: called with the number of steps done; it may return the seconds in which it did
            something else than train, evaluate for example.
        stopping: whether to return before the next steps.
        look: from the number of steps done to that at which advance has to be called next;
            without it, any will do.

    Raises:
        NonFiniteLossError: as soon as the sum of losses is looked at: after every step on a CPU,
            where it is at hand, and before this returns on CUDA, where a look waits for the device.
    """
    started, outside = perf_counter(), 0.0
    checked = progress.step
    while progress.step < stop and not stopping():
        last = min(progress.step + backend.steps_per_call, stop)
        if look:
            last = min(last, look(progress.step))
        backend.train(progress.step, last)
        paused = perf_counter()
        seconds = yield progress
        outside += perf_counter() - paused - (seconds or 0.0)
        progress.step = last
        if backend.device == "cpu":
            _check(backend, checked, last)
            checked = last
        outside += advance(last) or 0.0
    progress.totals = _check(backend, checked, progress.step)
    progress.seconds += perf_counter() - started - outside


def _check(backend: Backend, done: int, last: int) -> Totals:
    totals = backend.totals()
    if not math.isfinite(totals.loss):
        raise NonFiniteLossError(done + 1, last)
    return totals


def finish_epoch(backend: Backend, dataset: Dataset, progress: Progress) -> Scores:
    """Evaluate, add the epoch's row, advance the schedule, and make progress ready for the next."""
    scores = score(backend.evaluate(), dataset.test_labels)
    totals = progress.totals
    row = Row(
        epoch=progress.epoch + 1,
        lr=backend.lr,
        train_loss=totals.loss / totals.images,
        train_accuracy=totals.correct / totals.images,
        test_loss=scores.loss,
        test_accuracy=scores.accuracy,
        seconds=progress.seconds,
        images_per_second=totals.images / progress.seconds,
    )
    backend.end_epoch()
    progress.epoch += 1
    progress.rows.append(row)
    progress.step, progress.totals, progress.seconds = 0, Totals(), 0.0
    return scores


def quiet_overflow() -> warnings.catch_warnings:
    """Keep NumPy from announcing, line by line, the divergence that is told in one sentence."""
    return warnings.catch_warnings(action="ignore", category=RuntimeWarning)
