"""The files of a run's folder: metrics.csv, summary.json and the final weights."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
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
    """A finished run's record; accuracy is a share (0 to 1), times are in seconds."""

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
    test_accuracy: float
    test_loss: float
    parameters: int
    seconds: float
    training_seconds: float
    notes: list[str]
    processor: str
    blas: dict[str, str]
    versions: dict[str, str]

    def save(self, path: Path) -> None:
        """Write the record as JSON."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        write_atomically(path, text.encode())


class MetricsLog:
    """metrics.csv in a run's folder: a header, then one line an epoch, each written at once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._path = directory / "metrics.csv"
        self._write([field.name for field in fields(Row)], "w")

    def append(self, row: Row) -> None:
        """Add an epoch; floats are written so that reading them gives the same bits."""
        self._write(list(row.values().values()), "a")

    def _write(self, cells: list, mode: str) -> None:
        with self._path.open(mode, newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(cells)


def save_weights(path: Path, weights: Mapping[str, NDArray], model: ModelConfig) -> None:
    """Write parameters and buffers under torch's names, with the network they belong to."""
    from safetensors.numpy import save

    metadata = {"model": model.name, "arguments": json.dumps(model.arguments)}
    write_atomically(path, save(dict(weights), metadata))


def load_weights(path: Path) -> dict[str, NDArray]:
    """Return the arrays of a weights file by name."""
    from safetensors.numpy import load_file

    return load_file(path)
