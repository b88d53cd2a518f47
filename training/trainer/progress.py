"""Where a run stands, and the tables (`storage.tables`) that grow with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.backends.protocol import Totals
from training.config.schema import Config
from training.storage.tables import TABLES, Numbers, Row, Table
from training.trainer.evaluation import Scores
from training.trainer.resume import RECORD

_UNKNOWN = "it does not record how far its run had got"


@dataclass
class Progress:
    """Where a run stands: with the backend's state, all that is needed to go on from here."""

    epoch: int = 0  # epochs completed
    step: int = 0  # steps done in the epoch under way
    totals: Totals = field(default_factory=Totals)  # its sums so far
    recorded: Totals = field(default_factory=Totals)  # what they were at its last row of steps.csv
    seconds: float = 0.0  # its training time so far
    metrics: list[Row] = field(default_factory=list)  # the rows of the tables of these names
    steps: list[Numbers] = field(default_factory=list)
    evaluations: list[Numbers] = field(default_factory=list)

    def complete(self, lr: float, scores: Scores) -> Row:
        """Add the epoch under way, all of whose steps are done, and begin the next."""
        totals = self.totals
        row = Row(
            epoch=self.epoch + 1,
            lr=lr,
            train_loss=totals.loss / totals.images,
            train_accuracy=totals.correct / totals.images,
            test_loss=scores.loss,
            test_accuracy=scores.accuracy,
            seconds=self.seconds,
            images_per_second=totals.images / self.seconds,
        )
        self.metrics.append(row)
        self.epoch += 1
        self.begin_epoch()
        return row

    def begin_epoch(self) -> None:
        """Stand at the beginning of the epoch under way."""
        self.step, self.totals, self.recorded, self.seconds = 0, Totals(), Totals(), 0.0

    def forget_after(self, step: int) -> None:
        """Drop the rows of later steps of the run, which are taken again."""
        self.steps = [row for row in self.steps if row[0] <= step]
        self.evaluations = [row for row in self.evaluations if row[0] <= step]

    def check_images(self, seen: int) -> None:
        """Refuse sums that are not those of so many images of the epoch under way.

        Raises:
            ValueError: if they are not.
        """
        timed = self.seconds > 0 or not seen
        if not (self.totals.images == seen >= self.recorded.images >= 0 and timed):
            raise ValueError("its sums are not those of the images that it has seen")

    def where(self, epochs: int) -> str:
        """Return in words where a run of so many epochs stands."""
        if self.step:
            return f"in epoch {self.epoch + 1} after step {self.step}"
        if self.epoch == epochs:
            return "after the last epoch"
        return f"at the end of epoch {self.epoch}" if self.epoch else "before the first step"

    def to_record(self) -> dict[str, Any]:
        """Return all but the tables as JSON values."""
        return {name: getattr(self, name) for name in RECORD["progress"]}

    def tables(self) -> dict[str, NDArray[np.float64]]:
        """Return the tables, float64 (rows, columns), from which rows come back bit for bit."""
        return {
            f"progress.{name}": np.array(getattr(self, name), np.float64).reshape(-1, len(columns))
            for name, columns in TABLES.items()
        }

    @classmethod
    def from_record(cls, record: dict[str, Any], state: Mapping[str, NDArray]) -> Progress:
        """Return what gave a record of the right shape and, within a state, tables.

        Raises ValueError if they are no progress.
        """
        rows: dict[str, list[Any]] = {}
        for name, columns in TABLES.items():
            table = state.get(f"progress.{name}", np.empty(0))
            sound = table.dtype == np.float64 and table.shape[1:] == (len(columns),)
            if not sound or (np.diff(table[:, 0], prepend=1) < 0).any():
                raise ValueError(_UNKNOWN)
            shares = table[:, ["accuracy" in column for column in columns]]
            if not ((shares >= 0) & (shares <= 1)).all():
                raise ValueError("it records accuracies that are none")
            rows[name] = [tuple(row) for row in table.tolist()]
        epochs = [row[0] for row in rows["metrics"]]
        if len(epochs) != record["epoch"] or epochs != [*range(1, len(epochs) + 1)]:
            raise ValueError(_UNKNOWN)
        rows["metrics"] = [Row(int(row[0]), *row[1:]) for row in rows["metrics"]]
        totals = {key: Totals(*record[key]) for key in ("totals", "recorded")}
        return cls(**record | totals | rows)


class Recorder:
    """Adds rows to a run's progress, and writes them to its tables.

    The tables are written anew from the progress where a run begins or goes on: what a killed
    process left in them beyond its last save is trained, and written, again. A rank that writes
    nothing has no directory.
    """

    def __init__(self, config: Config, directory: Path | None, progress: Progress) -> None:
        self._progress = progress
        wanted = {"metrics": True, "steps": config.trainer.log_every}
        wanted["evaluations"] = config.trainer.evaluation_samples
        self._tables = {
            name: Table(directory / f"{name}.csv", columns, map(_cells, getattr(progress, name)))
            for name, columns in TABLES.items()
            if directory and (getattr(progress, name) or wanted[name])
        }

    def after_steps(self, step: int) -> None:
        """Add a row for the steps since the last one, up to a step of the run."""
        progress, totals = self._progress, self._progress.totals
        images = totals.images - progress.recorded.images
        loss = (totals.loss - progress.recorded.loss) / images
        accuracy = (totals.correct - progress.recorded.correct) / images
        progress.recorded = totals
        progress.steps.append((step, loss, accuracy))
        self.write("steps", progress.steps[-1])

    def evaluation(self, step: int, epoch: int, train: float, test: float) -> None:
        """Add accuracies on samples of both sets after a step and so many epochs."""
        self._progress.evaluations.append((step, epoch, train, test))
        self.write("evaluations", self._progress.evaluations[-1])

    def write(self, name: str, row: Numbers) -> None:
        """Write a row of the progress to its table."""
        if name in self._tables:
            self._tables[name].append(_cells(row))


def _cells(row: Numbers) -> Sequence[object]:
    """Return a row as it is written: metrics to the last bit, all else to six digits."""
    if isinstance(row, Row):
        return row
    return [f"{value:.6g}" if value % 1 else str(int(value)) for value in row]
