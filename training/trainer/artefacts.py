"""The files that a run leaves at its end: summary.json, the final weights, and its pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
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


def save_summary(
    directory: Path,
    config: Config,
    backend: Backend,
    dataset: Dataset,
    rows: Sequence[Row],
    notes: Sequence[str],
    *,
    status: str,
    reason: str,
    seconds: float,
) -> None:
    """Write summary.json; accuracy is a share (0 to 1), times are in seconds.

    The figures are those of the last completed epoch (row), and null before there is one. The
    status is "finished", or "interrupted" or "diverged" with the reason in a sentence.

    Raises:
        OSError: if it cannot be written.
    """
    last = rows[-1] if rows else None
    record = {
        "status": status,
        "reason": reason,
        "model": config.model.name,
        "backend": backend.name,
        "device": backend.device,
        "threads": backend.threads,
        "dataset": dataset.name,
        "dataset_source": dataset.source,
        "dataset_note": dataset.note,
        "train_images": len(dataset.train_labels),
        "test_images": len(dataset.test_labels),
        "epochs": len(rows),
        "seed": config.seed,
        "test_accuracy": last and last.test_accuracy,
        "test_loss": last and last.test_loss,
        "parameters": sum(row.parameters for row in backend.layer_table()),
        "seconds": seconds,
        "training_seconds": sum(row.seconds for row in rows),
        "notes": [*backend.notes, *notes],
        "processor": environment.processor(),
        "blas": environment.blas(),
        "versions": environment.versions(backend.name),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
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
