"""The files of a run's folder: metrics.csv, summary.json and the final weights."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

from numpy.typing import NDArray

from training.checkpoint import write_atomically
from training.config import ModelConfig
from training.loop import Row


class RunLabel(NamedTuple):
    """What every picture says about where it comes from."""

    model: str
    backend: str
    dataset: str

    def __str__(self) -> str:
        return f"{self.model} on {self.backend}, {self.dataset}"


@dataclass(frozen=True)
class Summary:
    """A run's record; accuracy is a share (0 to 1), times are in seconds.

    Attributes:
        status: "finished", "interrupted" or "diverged"; the figures are the last full epoch's, and
            null before there is one.
        reason: why it is not finished, in a sentence; else empty.
        date: when the run ended, in UTC (ISO 8601).
    """

    status: str
    reason: str
    model: str
    backend: str
    device: str
    threads: int
    dataset: str
    dataset_source: str
    dataset_note: str
    train_images: int
    test_images: int
    epochs: int
    seed: int
    test_accuracy: float | None
    test_loss: float | None
    parameters: int
    seconds: float
    training_seconds: float
    notes: list[str]
    processor: str
    blas: dict[str, str]
    versions: dict[str, str]
    date: str

    def save(self, path: Path) -> None:
        """Write the record as JSON."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        write_atomically(path, text.encode())


class MetricsLog:
    """metrics.csv in a run's folder: a header, then one line an epoch, each written at once.

    The lines of the epochs that are already done replace what the file held: whatever a killed
    process had written beyond its last checkpoint is trained, and written, again.
    """

    def __init__(self, directory: Path, done: Iterable[Row] = ()) -> None:
        self.path = directory / "metrics.csv"
        header = [field.name for field in fields(Row)]
        lines = [_line(header), *(_line(row.values().values()) for row in done)]
        write_atomically(self.path, "".join(lines).encode())

    def append(self, row: Row) -> None:
        """Add an epoch; floats are written so that reading them gives the same bits.

        Raises:
            OSError: if it cannot be written, with the file's name.
        """
        try:
            with self.path.open("a", newline="") as file:
                file.write(_line(row.values().values()))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error


def _line(cells: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def save_weights(path: Path, weights: Mapping[str, NDArray], model: ModelConfig) -> None:
    """Write parameters and buffers under torch's names, with the network they belong to."""
    from safetensors.numpy import save

    metadata = {"model": model.name, "arguments": json.dumps(model.arguments)}
    write_atomically(path, save(dict(weights), metadata))


def load_weights(path: Path) -> dict[str, NDArray]:
    """Return the arrays of a weights file by name."""
    from safetensors.numpy import load_file

    return load_file(path)
