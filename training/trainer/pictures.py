"""The pictures that a finished run leaves in its folder."""

from __future__ import annotations

from pathlib import Path

from training.data import Dataset
from training.trainer.artefacts import RunLabel
from training.trainer.evaluation import Scores
from training.trainer.progress import Row


def draw(
    directory: Path, rows: list[Row], scores: Scores, dataset: Dataset, label: RunLabel
) -> None:
    """Draw the curves, the confusion matrix and the most confident errors.

    Raises:
        OSError: if they cannot be written.
    """
    from training.trainer import plots

    plots.curves(directory / "curves.png", rows, label)
    plots.confusion(directory / "confusion.png", scores, dataset, label)
    plots.worst(directory / "worst.png", scores, dataset, label)
