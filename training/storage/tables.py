"""A run's tables, CSV files that grow by a row at a time: metrics, steps and evaluations.

metrics.csv has a row for each epoch. steps.csv has the loss and the accuracy, means over the images
since the row before, by step, counted from 1 over the whole run. evaluations.csv has the accuracies
on the first `trainer.evaluation_samples` images of both sets, in evaluation mode, by step and by
completed epochs; its first row is taken after the run's first step, as report R2 does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from training.storage.files import write_atomically


class Row(NamedTuple):
    """One epoch's row of metrics.csv; accuracies and losses are means over images.

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


#: Each table's columns; its file is <name>.csv.
TABLES: dict[str, tuple[str, ...]] = {
    "metrics": Row._fields,
    "steps": ("step", "loss", "accuracy"),
    "evaluations": ("step", "epoch", "train_accuracy", "test_accuracy"),
}

#: A row of steps.csv or evaluations.csv; whole numbers are written as such.
Numbers = tuple[float, ...]


class Table:
    """A CSV file that is written row by row; whatever the file held before is replaced.

    Every method raises OSError, with the file's name, if it cannot be written.
    """

    def __init__(
        self, path: Path, columns: Iterable[object], rows: Iterable[Iterable[object]] = ()
    ) -> None:
        self._path = path
        write_atomically(path, b"".join(map(_line, [columns, *rows])))

    def append(self, cells: Iterable[object]) -> None:
        """Add a row; floats are written so that reading them gives the same bits."""
        try:
            with self._path.open("ab") as file:
                file.write(_line(cells))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, float]]:
    """Return a whole table's rows by column; raise ValueError, with the line, if it is damaged."""
    rows: list[dict[str, float]] = []
    order = [name for name in columns if name in ("step", "epoch")]
    text = path.read_text("utf-8", errors="replace").removesuffix("\n")
    for number, line in enumerate(text.split("\n"), 1):
        cells = line.split(",")
        try:
            if number == 1 and tuple(cells) != tuple(columns):
                raise ValueError(f"the columns must be {', '.join(columns)}")
            if len(cells) != len(columns):
                raise ValueError(f"{len(cells)} values for {len(columns)} columns")
            if number > 1:
                row = {name: _finite(c) for name, c in zip(columns, cells, strict=True)}
                if rows and [row[name] for name in order] <= [rows[-1][name] for name in order]:
                    raise ValueError("it does not follow the line before")
                rows.append(row)
        except ValueError as error:
            raise ValueError(f"{path} is damaged at line {number}: {error}") from error
    return rows


def _line(cells: Iterable[object]) -> bytes:
    return f"{','.join(map(str, cells))}\n".encode()


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value
