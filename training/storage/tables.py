"""A run's tables, CSV files that grow by a row at a time: metrics, steps and evaluations.

metrics.csv has a row for each epoch. steps.csv has the loss and the accuracy, means over the images
since the row before, by step, counted from 1 over the whole run. evaluations.csv has the accuracies
on the first `trainer.evaluation_samples` images of both sets, in evaluation mode, by step and by
completed epochs; its first row is taken after the run's first step, as report R2 does.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from training.storage.files import write_atomically


@dataclass(frozen=True)
class Row:
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

    @classmethod
    def columns(cls) -> list[str]:
        """Return the columns' names, in order."""
        return [field.name for field in fields(cls)]

    def values(self) -> dict[str, float]:
        """Return the columns by name, in order."""
        return asdict(self)


STEPS = ("step", "loss", "accuracy")
EVALUATIONS = ("step", "epoch", "train_accuracy", "test_accuracy")
#: Each table's columns; its file is <name>.csv.
TABLES = {"metrics": tuple(Row.columns()), "steps": STEPS, "evaluations": EVALUATIONS}


#: A row of steps.csv or evaluations.csv; whole numbers are written as such.
Numbers = tuple[float, ...]


class Table:
    """A CSV file that is written row by row; whatever the file held before is replaced.

    Raises:
        OSError: if it cannot be written.
    """

    def __init__(
        self, path: Path, columns: Iterable[object], rows: Iterable[Iterable[object]] = ()
    ) -> None:
        self._path = path
        lines = [_line(cells) for cells in [columns, *rows]]
        write_atomically(path, b"".join(lines))

    def append(self, cells: Iterable[object]) -> None:
        """Add a row; floats are written so that reading them gives the same bits.

        Raises:
            OSError: if it cannot be written, with the file's name.
        """
        line = _line(cells)
        try:
            with self._path.open("ab") as file:
                file.write(line)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, float]]:
    """Return a whole table's rows by column.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is damaged, with the line.
    """
    rows = []
    text = path.read_text("utf-8", errors="replace").removesuffix("\n")
    for number, line in enumerate(text.split("\n"), 1):
        cells = line.split(",")
        try:
            if number == 1 and tuple(cells) != tuple(columns):
                raise ValueError(f"the columns must be {', '.join(columns)}")
            if len(cells) != len(columns):
                raise ValueError(f"{len(cells)} values for {len(columns)} columns")
            if number > 1:
                rows.append({name: _finite(c) for name, c in zip(columns, cells, strict=True)})
        except ValueError as error:
            raise ValueError(f"{path} is damaged at line {number}: {error}") from error
    return rows


def _line(cells: Iterable[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value
