"""A run's tables, CSV files that grow by a row at a time: metrics, steps and evaluations.

metrics.csv has a row for each epoch. steps.csv has the loss and the accuracy, means over the images
since the row before, by step, counted from 1 over the whole run. evaluations.csv has the accuracies
on the first `trainer.evaluation_samples` images of both sets, in evaluation mode, by step and by
completed epochs; its first row is taken after the run's first step, as report R2 does.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

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


class Mark(NamedTuple):
    """A table as it stood at some moment: its number of rows, and a SHA-256 sum of its bytes."""

    rows: int
    sha256: str


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
        self._rows, self._digest = len(lines) - 1, hashlib.sha256(b"".join(lines))
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
        self._rows += 1
        self._digest.update(line)

    def mark(self) -> Mark:
        """Return what `salvage` recognises the table by as it stands."""
        return Mark(self._rows, self._digest.hexdigest())


def salvage(
    path: Path, columns: Sequence[str], last: int, mark: Mark | None = None
) -> tuple[list[list[str]], bool]:
    """Return the rows of a table up to a step, and whether the table is as it was written.

    What a killed process wrote beyond that step, the torn line at the end included, is no damage.

    Args:
        path: the file.
        columns: their names, the first of which counts up.
        last: the step that the run goes on from.
        mark: the table as it stood at that step; without it, only order and numbers are checked.

    Returns:
        If the table is not as it was written, the rows that can still be read: with a finite
        number, not below zero, in every column, and in order.
    """
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    if mark and len(lines) > mark.rows:
        whole = lines[: mark.rows + 1]
        if hashlib.sha256(b"".join(whole)).hexdigest() == mark.sha256:
            return [line.decode().rstrip("\n").split(",") for line in whole[1:]], True
    *texts, torn = data.decode("utf-8", errors="replace").split("\n")
    headed = texts[:1] == [",".join(columns)]
    rows, sound, before = [], headed and mark is None, 0.0
    for text in texts[headed:]:
        cells = text.split(",")
        numbers = [_number(cell) for cell in cells]
        if numbers[0] > last:
            continue
        if len(cells) == len(columns) and min(numbers) >= 0 and numbers[0] > before:
            rows.append(cells)
            before = numbers[0]
        else:
            sound = False
    return rows, sound and (not torn or _number(torn.partition(",")[0]) > last)


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


def _number(text: str) -> float:
    """Return a cell's number, or -1, which no table holds, where it has none."""
    try:
        return _finite(text)
    except ValueError:
        return -1.0
