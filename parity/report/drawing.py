"""The report's picture: how both sides train."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from parity.networks import EPOCH_STEPS, STEP_SIZE, STEPS
from parity.report.measure import Training

TORCH, NUMPY, LIMIT = "#2b6cb0", "#1e242b", "#b3261e"
STYLES = {"float32": ("o-", TORCH), "float64": ("o--", "#b4690e")}
#: What lies outside is drawn at the edge: shares of a budget.
LEAST, MOST = 1e-4, 1e4


def training(shown: Sequence[Training]) -> Figure:
    """Draw both sides' losses in the first training, and the share of the envelope used in each."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    losses = shown[0].losses
    steps = range(1, len(losses) + 1)
    wide = {"linewidth": 6, "alpha": 0.35, "marker": "o" if len(losses) == 1 else ""}
    left.plot(steps, [check.torch_value for check in losses], color=TORCH, label="torch", **wide)
    values = [check.numpy_value for check in losses]
    left.plot(steps, values, "o--", color=NUMPY, markersize=3, label="NumPy")
    for each in shown:
        style, colour = STYLES[each.dtype]
        shares = np.clip([check.share for check in each.worst], LEAST, MOST)
        right.plot(
            range(1, len(shares) + 1), shares, style, color=colour, markersize=3, label=each.dtype
        )
    right.axhline(1, color=LIMIT, label="limit")
    right.set_yscale("log")
    _finish(left, f"loss, {shown[0].dtype}")
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
