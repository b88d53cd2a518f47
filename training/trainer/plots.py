"""A run's pictures: curves, confusion matrix, and the surest mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, MaxNLocator

from training.data import Dataset
from training.storage.files import write_atomically
from training.trainer.artefacts import RunLabel
from training.trainer.evaluation import Scores, confusion_matrix, most_confident_errors
from training.trainer.progress import Row

TRAIN, TEST = "#3b6fb6", "#d1495b"
WORST = 20


#: Up to so many epochs each has its mark.
MARKED = 40
#: Dots per inch of the pictures.
DPI = 110


def curves(path: Path, rows: list[Row], label: RunLabel) -> None:
    """Draw loss and accuracy of both sets over the epochs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    epochs, marker = [row.epoch for row in rows], "o" if len(rows) <= MARKED else ""
    for axes, quantity in ((left, "loss"), (right, "accuracy")):
        for name, colour in (("training", TRAIN), ("test", TEST)):
            part = name.removesuffix("ing")
            values = [getattr(row, f"{part}_{quantity}") for row in rows]
            axes.plot(epochs, values, color=colour, marker=marker, markersize=3, label=name)
        by_epoch(axes, epochs[-1])
        axes.set_ylabel(f"{quantity}, {label.dataset}")
        plain(axes)
    left.set_ylim(bottom=0)
    left.legend(frameon=False)
    right.yaxis.set_major_formatter(Percent())
    final = f"final test accuracy {rows[-1].test_accuracy * 100:.2f} %"
    figure.suptitle(f"{label}: {final}")
    save(figure, path)


def confusion(path: Path, scores: Scores, dataset: Dataset, label: RunLabel) -> None:
    """Draw how often each true digit was taken for each other; the colour shows mistakes only."""
    counts = confusion_matrix(dataset.test_labels, scores.predictions)
    mistakes = counts.copy()
    np.fill_diagonal(mistakes, 0)
    figure, axes = plt.subplots(figsize=(6.4, 6), layout="constrained")
    axes.imshow(mistakes, cmap="Reds", vmin=0, vmax=max(1, mistakes.max()))
    for (true, predicted), count in np.ndenumerate(counts):
        strong = mistakes[true, predicted] > mistakes.max() / 2
        colour = "white" if strong else "black" if count else "#bbbbbb"
        weight = "bold" if true == predicted else "normal"
        axes.text(
            predicted, true, str(count), ha="center", va="center", color=colour, weight=weight
        )
    axes.set_xticks(range(10))
    axes.set_yticks(range(10))
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    wrong = int(mistakes.sum())
    figure.suptitle(f"{label}: {wrong} mistakes in {len(dataset.test_labels)} test images")
    save(figure, path)


def worst(path: Path, scores: Scores, dataset: Dataset, label: RunLabel) -> None:
    """Draw the test images that were wrong with the greatest confidence."""
    chosen = most_confident_errors(scores, dataset.test_labels, WORST)
    columns = 5
    lines = max(1, -(-len(chosen) // columns))
    height = 1.9 * lines + 0.5
    figure, axes = plt.subplots(lines, columns, figsize=(8, height), squeeze=False)
    figure.subplots_adjust(0.01, 0.15 / height, 0.99, 1 - 0.95 / height, wspace=0, hspace=0.35)
    for panel in axes.flat:
        panel.set_axis_off()
    for panel, position in zip(axes.flat, chosen, strict=False):
        predicted = scores.predictions[position]
        share = scores.probabilities[position, predicted]
        panel.imshow(dataset.test_images[position], cmap="gray_r", vmin=0, vmax=255)
        panel.set_title(
            f"{dataset.test_labels[position]} taken for {predicted}\n{share * 100:.1f} % sure",
            fontsize=9,
        )
    if len(chosen):
        figure.suptitle(f"{label}: the {len(chosen)} surest mistakes on test images")
    else:
        figure.suptitle(f"{label}: no mistake on {len(dataset.test_labels)} test images")
    save(figure, path)


class Percent(Formatter):
    """Writes shares as percentages, all of an axis with the decimals that the finest needs."""

    def __call__(self, value: float, position: int | None = None) -> str:
        """Return one share in words."""
        return f"{value * 100:.6g} %"

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Return the shares of an axis in words."""
        decimals = max((len(f"{v * 100:.6g}".partition(".")[2]) for v in values), default=0)
        return [f"{value * 100:.{decimals}f} %" for value in values]


def by_epoch(axes: Axes, last: int) -> None:
    """Make the horizontal axis that of epochs from 1 to the last."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.set_xlim(0.5, last + 0.5)


def plain(axes: Axes) -> None:
    """Give a plot a grid and no frame."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path, dpi: int = DPI) -> None:
    """Write a figure in the format that path ends in, whole or not at all, and close it.

    A PNG does not name what made it: the same figure gives the same bytes.

    Raises:
        OSError: if it cannot be written.
    """
    form, content = path.suffix.removeprefix("."), BytesIO()
    metadata = {"Software": None} if form == "png" else None
    try:
        figure.savefig(content, format=form, dpi=dpi, metadata=metadata)
    finally:
        plt.close(figure)
    write_atomically(path, content.getvalue())
