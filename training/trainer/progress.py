"""Where a run stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.backends.protocol import Totals
from training.storage.checkpoint import fits
from training.storage.tables import TABLES, Numbers, Row
from training.trainer.evaluation import Scores

_RECORD = {
    "epoch": int,
    "step": int,
    "totals": [float, int, int],
    "recorded": [float, int, int],
    "seconds": float,
}


@dataclass
class Progress:
    """Where a run stands: with the backend's state, all that is needed to go on from here.

    Attributes:
        epoch: epochs completed.
        step: steps done in the epoch under way.
        totals: its sums so far.
        recorded: what they were at its last row of steps.csv.
        seconds: its training time so far.
        metrics, steps, evaluations: the rows of these tables.
    """

    epoch: int = 0
    step: int = 0
    totals: Totals = field(default_factory=Totals)
    recorded: Totals = field(default_factory=Totals)
    seconds: float = 0.0
    metrics: list[Row] = field(default_factory=list)
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

    def where(self, epochs: int) -> str:
        """Return in words where a run of so many epochs stands."""
        if self.step:
            return f"in epoch {self.epoch + 1} after step {self.step}"
        if self.epoch == epochs:
            return "after the last epoch"
        return f"at the end of epoch {self.epoch}" if self.epoch else "before the first step"

    def to_record(self) -> dict[str, Any]:
        """Return all but the tables as JSON values."""
        return {name: getattr(self, name) for name in _RECORD}

    def tables(self) -> dict[str, NDArray[np.float64]]:
        """Return the tables, float64 (rows, columns), from which rows come back bit for bit."""
        return {
            f"progress.{name}": np.array(getattr(self, name), np.float64).reshape(-1, len(columns))
            for name, columns in TABLES.items()
        }

    @classmethod
    def from_record(cls, record: dict[str, Any], state: Mapping[str, NDArray]) -> Progress:
        """Return what gave record and, within a state, tables.

        Raises:
            ValueError: if they are no progress.
        """
        tables = {name: state.get(f"progress.{name}", np.empty(0)) for name in TABLES}
        sound = fits(record, _RECORD) and min(record["epoch"], record["step"]) >= 0
        for name, table in tables.items():
            shape = (len(table), len(TABLES[name]))
            sound = sound and (table.dtype, table.shape) == (np.float64, shape)
            sound = sound and bool((np.diff(table[:, 0], prepend=0) >= 0).all())
        epochs = tables["metrics"][:, 0].tolist() if sound else []
        if not sound or epochs != list(range(1, record["epoch"] + 1)):
            raise ValueError("it does not record how far its run had got")
        totals = {key: Totals(*record[key]) for key in ("totals", "recorded")}
        return cls(
            **{**record, **totals},
            metrics=[Row(int(row[0]), *row[1:].tolist()) for row in tables["metrics"]],
            steps=[tuple(row) for row in tables["steps"].tolist()],
            evaluations=[tuple(row) for row in tables["evaluations"].tolist()],
        )
