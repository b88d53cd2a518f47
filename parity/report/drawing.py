"""The report's pictures: where a tensor errs, and how both sides train."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from math import ceil

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from parity.networks import EPOCH_STEPS, STEP_SIZE, STEPS
from parity.report import numbers
from parity.report.figures import Training

#: Rows and columns of a heat map at most.
ROWS, COLUMNS = 48, 96
TORCH, NUMPY, LIMIT = "#2b6cb0", "#1e242b", "#b3261e"
STYLES = {"float32": ("o-", TORCH), "float64": ("o--", "#b4690e")}
#: What lies outside is drawn at the edge: shares of a budget.
LEAST, MOST = 1e-4, 1e4


def lay_out(errors: np.ndarray) -> tuple[list[list[float]], str]:
    """Return rows of errors, and in words how the axes became rows and columns.

    A cell that stands for several elements has the largest of their errors; an error that is not
    finite becomes infinity.

    Args:
        errors: non-negative array of any shape.
    """
    plane = np.where(np.isfinite(errors), errors, np.inf).astype(np.float64)
    words = ""
    if plane.ndim == 4:
        outer, inner, high, wide = plane.shape
        plane = plane.swapaxes(1, 2).reshape(outer * high, inner * wide)
        words = f"{outer} × {inner} tiles of {high} × {wide}"
    elif plane.ndim != 2:
        plane = plane.reshape(1, -1)
    words = words or f"{len(plane)} × {plane.shape[1]} elements"
    if len(plane) > plane.shape[1]:
        plane, words = plane.T, f"{words}, turned"
    sizes = [ceil(n / limit) for n, limit in zip(plane.shape, (ROWS, COLUMNS), strict=True)]
    for axis, size in enumerate(sizes):
        plane = np.maximum.reduceat(plane, np.arange(0, plane.shape[axis], size), axis)
    if max(sizes) > 1:
        words += f"; a cell is the largest of {sizes[0]} × {sizes[1]} elements"
    return plane.tolist(), words


def heat_map(cells: Sequence[Sequence[float]]) -> Figure:
    """Draw errors, the darker the larger; infinity is red."""
    plane = np.array(cells)
    top = plane.max(where=np.isfinite(plane), initial=0.0)
    height = 0.9 + 5 * plane.shape[0] / plane.shape[1]
    figure = Figure(figsize=(5.4, height), layout="constrained")
    axes = figure.subplots()
    colours = mpl.colormaps["Blues"].with_extremes(bad=LIMIT)
    image = axes.imshow(plane, colours, vmin=0, vmax=top or 1, interpolation="none")
    axes.set(xticks=[], yticks=[])
    bar = figure.colorbar(image, ax=axes, ticks=[0, top or 1], orientation="horizontal", aspect=40)
    bar.ax.set_xticklabels(["0", numbers.magnitude(top)])
    return figure


def training(shown: Sequence[Training]) -> Figure:
    """Draw both sides' losses in the first training, and the share of the envelope used in each."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    first, mark = shown[0], "o" if len(shown[0].steps) == 1 else ""
    steps = [step.number for step in first.steps]
    wide = {"linewidth": 6, "alpha": 0.35, "marker": mark}
    left.plot(steps, [step.torch_loss for step in first.steps], color=TORCH, label="torch", **wide)
    values = [step.numpy_loss for step in first.steps]
    left.plot(steps, values, "--", color=NUMPY, marker=mark, markersize=3, label="NumPy")
    for each in shown:
        style, colour = STYLES[each.dtype]
        shares = np.clip([step.worst.share for step in each.steps], LEAST, MOST)
        steps = [step.number for step in each.steps]
        right.plot(steps, shares, style, color=colour, markersize=3, label=each.dtype)
    right.axhline(1, color=LIMIT, label="limit")
    right.set_yscale("log")
    right.yaxis.set_major_formatter(lambda value, _: numbers.share(value))
    _finish(left, f"loss, {first.dtype}")
    _finish(right, "envelope used")
    return figure


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10)
    axes.set(xlabel="optimizer step", xlim=(0.5, STEPS + 0.5))
    for step in range(EPOCH_STEPS * STEP_SIZE, STEPS, EPOCH_STEPS * STEP_SIZE):
        axes.axvline(step + 0.5, color="grey", linestyle=":", linewidth=1)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False, ncols=3, fontsize=9, loc="lower right", bbox_to_anchor=(1, 1))


def png(figure: Figure) -> str:
    """Return a figure as a data URI: the same figure gives the same text."""
    content = BytesIO()
    figure.savefig(content, format="png", dpi=160, transparent=True, metadata={"Software": None})
    return f"data:image/png;base64,{b64encode(content.getvalue()).decode()}"
