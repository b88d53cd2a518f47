"""The files that a run leaves at its end: summary.json, the final weights, and its pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from numpy.typing import NDArray

from training.config.schema import Config, ModelConfig
from training.data import Dataset
from training.storage import weights as weights_file
from training.storage.files import write_atomically
from training.storage.tables import Row
from training.trainer.evaluation import Scores


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


def save_weights(directory: Path, weights: Mapping[str, NDArray], model: ModelConfig) -> None:
    """Write parameters and buffers under torch's names, with the network they belong to."""
    metadata = {"model": model.name, "arguments": json.dumps(model.arguments)}
    weights_file.save_weights(directory / "weights.safetensors", weights, metadata)


def draw(
    directory: Path, config: Config, backend: str, dataset: Dataset, rows: list[Row], scores: Scores
) -> None:
    """Draw the curves, the confusion matrix and the most confident errors.

    Raises:
        OSError: if they cannot be written.
    """
    from training.trainer import pictures  # matplotlib takes longer to import than a run to start

    label = f"{config.model.name} on {backend}, {dataset.name}, seed {config.seed}"
    pictures.draw(directory, rows, scores, dataset, label)
