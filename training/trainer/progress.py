"""Where a run stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.backends.protocol import Totals
from training.storage.tables import Row
from training.trainer.evaluation import Scores


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

    def complete(self, row: Row) -> None:
        """Add a completed epoch and begin the next."""
        self.rows.append(row)
        self.epoch += 1
        self.step, self.totals, self.seconds = 0, Totals(), 0.0

    def where(self, epochs: int) -> str:
        """Return in words where a run of so many epochs stands."""
        if self.step:
            return f"in epoch {self.epoch + 1} after step {self.step}"
        if self.epoch == epochs:
            return "after the last epoch"
        return f"at the end of epoch {self.epoch}" if self.epoch else "before the first step"

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
            raise ValueError("it does not record how far its run had got")
        rows = [Row(int(row[0]), *row[1:].tolist()) for row in table]
        assert isinstance(totals, list)
        return cls(record["epoch"], record["step"], Totals(*totals), record["seconds"], rows)


def epoch_row(progress: Progress, lr: float, scores: Scores) -> Row:
    """Return the row of the epoch under way, all of whose steps are done."""
    totals, seconds = progress.totals, progress.seconds
    return Row(
        epoch=progress.epoch + 1,
        lr=lr,
        train_loss=totals.loss / totals.images,
        train_accuracy=totals.correct / totals.images,
        test_loss=scores.loss,
        test_accuracy=scores.accuracy,
        seconds=seconds,
        images_per_second=totals.images / seconds,
    )
