"""The files that a run leaves at its end: summary.json, the final weights, and its pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from numpy.typing import NDArray
from omegaconf import OmegaConf

from training import environment
from training.backends.protocol import Backend
from training.config.schema import Config
from training.data import Dataset
from training.storage import weights as weights_file
from training.storage.files import write_atomically
from training.storage.run_folder import FAILURE, SUMMARY
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

    @classmethod
    def of(
        cls,
        config: Config,
        backend: Backend,
        dataset: Dataset,
        rows: Sequence[Row],
        notes: Sequence[str],
        seconds: float,
    ) -> Summary:
        """Return the record of a finished run with these epochs, notes and seconds behind it."""
        return cls(
            status="finished",
            reason="",
            model=config.model.name,
            backend=backend.name,
            device=backend.device,
            threads=backend.threads,
            dataset=dataset.name,
            dataset_source=dataset.source,
            dataset_note=dataset.note,
            train_images=len(dataset.train_labels),
            test_images=len(dataset.test_labels),
            epochs=len(rows),
            seed=config.seed,
            test_accuracy=rows[-1].test_accuracy if rows else None,
            test_loss=rows[-1].test_loss if rows else None,
            parameters=sum(row.parameters for row in backend.layer_table()),
            seconds=seconds,
            training_seconds=sum(row.seconds for row in rows),
            notes=[*backend.notes, *notes],
            processor=environment.processor(),
            blas=environment.blas(),
            versions=environment.versions(backend.name),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def save(self, directory: Path) -> None:
        """Write the record as JSON into the run's folder."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        write_atomically(directory / SUMMARY, text.encode())


def save_config(directory: Path, config: Config) -> None:
    """Write a run's settings as YAML, without those of its resumption; a failure is forgotten."""
    own = replace(config, resume=None, resume_override=False)
    text = OmegaConf.to_yaml(OmegaConf.structured(own))
    write_atomically(directory / "config.yaml", text.encode())
    (directory / FAILURE).unlink(missing_ok=True)


def save_weights(directory: Path, weights: Mapping[str, NDArray], config: Config) -> None:
    """Write parameters and buffers under torch's names, with their network and its images."""
    metadata = {
        "model": config.model.name,
        "arguments": json.dumps(config.model.arguments),
        "image_size": str(config.model.image_size),
        "scaling": config.data.scaling,
    }
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
