"""The training loop, the same for both backends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from training.backend import Backend, EpochPlan, Totals
from training.config import Config
from training.data import Dataset, epoch_batches, flip_decisions
from training.evaluation import Scores, score
from training.random import stream


@dataclass(frozen=True)
class Row:
    """One epoch's line of metrics.csv; accuracies and losses are means over images.

    The training figures are running means over the epoch's batches as they were trained on;
    seconds counts the training pass alone.
    """

    epoch: int
    lr: float
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float
    images_per_second: float

    def values(self) -> dict[str, float]:
        """Return the columns by name, in order."""
        return asdict(self)


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
        """Return the same as JSON values."""
        return asdict(self) | {"totals": list(self.totals)}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Progress:
        """Return what `to_record` was given."""
        rows = [Row(**row) for row in record["rows"]]
        return cls(**(record | {"totals": Totals(*record["totals"]), "rows": rows}))


def plan_epoch(config: Config, count: int, epoch: int) -> EpochPlan:
    """Draw the order and the flips of an epoch (counted from 0) over count training images."""
    order = stream(config.seed, "order", epoch)
    batches = epoch_batches(count, config.trainer.batch_size, config.data.sampling, order)
    indices = np.concatenate(batches)
    flips = None
    if config.data.flip:
        augment = stream(config.seed, "augment", epoch)
        flips = flip_decisions(len(indices), config.data.flip, augment)
    offsets = np.cumsum([0, *map(len, batches)])
    return EpochPlan(indices, offsets, flips, first_step=epoch * len(batches))


def train_epoch(
    backend: Backend, plan: EpochPlan, progress: Progress, advance: Callable[[int], object]
) -> None:
    """Take the epoch's remaining steps; advance is called with the number of steps done."""
    backend.begin_epoch(plan, progress.totals)
    started = perf_counter()
    while progress.step < plan.steps:
        last = min(progress.step + backend.steps_per_call, plan.steps)
        backend.train(progress.step, last)
        progress.step = last
        advance(last)
    progress.totals = backend.totals()
    progress.seconds += perf_counter() - started


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
