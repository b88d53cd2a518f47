"""The pictures in a run's folder: curves, confusion matrix, and the most confident errors."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from training.data import Dataset
from training.storage.files import write_atomically
from training.storage.tables import Row
from training.trainer.evaluation import Scores, confusion_matrix, most_confident_errors

TRAIN, TEST = "#3b6fb6", "#d1495b"
#: How many of the most confident errors are shown, and in how many columns.
WORST, COLUMNS = 20, 5
#: Up to so many epochs each has its mark.
MARKED = 40
#: Dots per inch.
DPI = 110


def draw(directory: Path, rows: list[Row], scores: Scores, dataset: Dataset, label: str) -> None:
    """Draw a finished run's three pictures, each of which says in its label what run it is of."""
    curves(directory / "curves.png", rows, label)
    confusion(directory / "confusion.png", scores, dataset, label)
    worst(directory / "worst.png", scores, dataset, label)


def curves(path: Path, rows: list[Row], label: str) -> None:
    """Draw loss and accuracy on both sets over the epochs."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    epochs, marker = [row.epoch for row in rows], "o" if len(rows) <= MARKED else ""
    for axes, quantity in zip(panels, ("loss", "accuracy"), strict=True):
        for part, name, colour in (("train", "training", TRAIN), ("test", "test", TEST)):
            values = [getattr(row, f"{part}_{quantity}") for row in rows]
            axes.plot(epochs, values, color=colour, marker=marker, markersize=3, label=name)
        by_epoch(axes, epochs[-1])
        axes.set_ylabel(quantity)
        plain(axes)
    panels[0].set_ylim(bottom=0)
    panels[0].legend(frameon=False)
    percent(panels[1].yaxis)
    figure.suptitle(f"{label}: final test accuracy {rows[-1].test_accuracy * 100:.2f} %")
    save(figure, path)


def confusion(path: Path, scores: Scores, dataset: Dataset, label: str) -> None:
    """Draw how often each digit was predicted as each other; the colour shows errors only."""
    counts = confusion_matrix(dataset.test_labels, scores.predictions)
    errors = counts.copy()
    np.fill_diagonal(errors, 0)
    figure, axes = plt.subplots(figsize=(6.4, 6), layout="constrained")
    axes.imshow(errors, cmap="Reds", vmin=0, vmax=max(1, errors.max()))
    for (true, predicted), count in np.ndenumerate(counts):
        strong = errors[true, predicted] > errors.max() / 2
        colour = "white" if strong else "black" if count else "#bbbbbb"
        weight = "bold" if true == predicted else "normal"
        cell = axes.text(predicted, true, str(count), color=colour, weight=weight)
        cell.set(ha="center", va="center")
    axes.set_xticks(range(10))
    axes.set_yticks(range(10))
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    figure.suptitle(f"{label}: {errors.sum()} errors in {len(dataset.test_labels):,} test images")
    save(figure, path)


def worst(path: Path, scores: Scores, dataset: Dataset, label: str) -> None:
    """Draw the test images that were misclassified with the greatest confidence."""
    chosen = most_confident_errors(scores, dataset.test_labels, WORST)
    lines = max(1, -(-len(chosen) // COLUMNS))
    height = 1.9 * lines + 0.5
    figure, axes = plt.subplots(lines, COLUMNS, figsize=(8, height), squeeze=False)
    figure.subplots_adjust(0.01, 0.15 / height, 0.99, 1 - 0.95 / height, wspace=0, hspace=0.35)
    for panel in axes.flat:
        panel.set_axis_off()
    for panel, position in zip(axes.flat, chosen, strict=False):
        true, predicted = dataset.test_labels[position], scores.predictions[position]
        confidence = scores.probabilities[position, predicted] * 100
        panel.imshow(dataset.test_images[position], cmap="gray_r", vmin=0, vmax=255)
        panel.set_title(f"true {true}, predicted {predicted}\n{confidence:.1f} %", fontsize=9)
    told = f"the {len(chosen)} most confident errors" if len(chosen) else "no errors"
    figure.suptitle(f"{label}: {told} on {len(dataset.test_labels):,} test images")
    save(figure, path)


def percent(axis: Axis) -> None:
    """Write an axis's shares as percentages, with the decimals that its range needs."""
    axis.set_major_formatter(PercentFormatter(1, symbol=" %"))


def by_epoch(axes: Axes, last: int) -> None:
    """Make the horizontal axis that of epochs from 1 to the last."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.set_xlim(0.5, last + 0.5)


def plain(axes: Axes) -> None:
    """Give a plot a grid and no frame."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format that path ends in, whole or not at all, and close it.

    A PNG does not name what made it: the same figure gives the same bytes.
    """
    form, content = path.suffix.removeprefix("."), BytesIO()
    metadata = {"Software": None} if form == "png" else None
    try:
        figure.savefig(content, format=form, dpi=DPI, metadata=metadata)
    finally:
        plt.close(figure)
    write_atomically(path, content.getvalue())
