"""Pictures of the results."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.command import announce, heading, in_milliseconds
from benchmarks.scaling import CONVOLUTION, Limit, Point
from benchmarks.step import Result

#: Distinguishable also without colour vision and in grey (Okabe and Ito).
COLOURS = {"numpy": "#0072B2", "torch": "#E69F00", "mygrad": "#999999", "jax": "#009E73"}
LABELS = {"numpy": "NumPy", "torch": "PyTorch eager", "mygrad": "MyGrad", "jax": "JAX jit"}


def draw_steps(results: list[Result], record: dict[str, Any], path: Path) -> None:
    """Draw a panel per number of threads: bars of the step's median time, quartiles as lines."""
    steps = [result for result in results if result.kind == "step"]
    counts = sorted({result.threads for result in steps})
    rows = max(sum(len(r.seconds) + 0.7 for r in steps if r.threads == count) for count in counts)
    figure, axes = plt.subplots(
        1,
        len(counts),
        figsize=(5.6 * len(counts), 1.4 + 0.3 * rows),
        layout="constrained",
        squeeze=False,
    )
    for panel, count in zip(axes[0], counts, strict=True):
        _bars(panel, [result for result in steps if result.threads == count])
        panel.set_title(f"{count} thread{'s' if count > 1 else ''}")
    shown = [name for name in COLOURS if any(name in result.seconds for result in steps)]
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[name]) for name in shown]
    figure.legend(
        handles,
        [LABELS[name] for name in shown],
        loc="outside upper center",
        ncols=len(shown),
        title="Training step: gather, forward, loss, backward, Adam (float32)",
        title_fontsize=12,
        frameon=False,
    )
    save(figure, record, path)


def _bars(panel: Axes, results: list[Result]) -> None:
    place, ticks = 0.0, []
    for result in results:
        first = place
        for name, sample in result.seconds.items():
            spread = [[sample.median - sample.lower], [sample.upper - sample.median]]
            panel.barh(
                place,
                1e3 * sample.median,
                xerr=[[1e3 * spread[0][0]], [1e3 * spread[1][0]]],
                color=COLOURS[name],
                error_kw={"lw": 1},
            )
            text = f"{in_milliseconds(sample.median)} ms"
            if name == "numpy":
                text += f"  ({result.ratios['numpy/torch'].median:.2f} × PyTorch)"
            panel.annotate(
                text,
                (1e3 * sample.upper, place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
            place += 1
        ticks.append(((first + place - 1) / 2, f"{result.network}\nbatch {result.batch}"))
        place += 0.7
    panel.set_yticks([tick for tick, _ in ticks], [label for _, label in ticks])
    panel.invert_yaxis()
    panel.set_xlabel("milliseconds per step (shorter is better)")
    panel.margins(x=0.35)
    panel.spines[["top", "right"]].set_visible(False)


def draw_scaling(
    points: list[Point], limits: list[Limit], options: argparse.Namespace, record: dict[str, Any]
) -> None:
    """Draw three panels: the convolution by channels and by size, the step by batch."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.4), layout="constrained")
    kernel = f"Convolution {options.kernel}×{options.kernel}"
    for panel, series, title in (
        (axes[0], "channels", f"{kernel}, {CONVOLUTION['size']}×{CONVOLUTION['size']} images"),
        (axes[1], "size", f"{kernel}, {CONVOLUTION['channels']} channels"),
    ):
        _lines(panel, points, series, Point.rate)
        for limit in limits:
            panel.axhline(limit.rate, color="0.5", ls="--", lw=1)
            panel.annotate(
                f"square product, {limit.threads} thread{'s' if limit.threads > 1 else ''}",
                (0.02, limit.rate),
                xycoords=("axes fraction", "data"),
                xytext=(0, 2),
                textcoords="offset points",
                fontsize=8,
                color="0.35",
            )
        panel.set(title=title, xlabel=series, ylabel="GFLOP/s (higher is better)", ylim=(0, None))
    _lines(axes[2], points, "batch", _per_image)
    axes[2].set(
        title=f"Training step of {options.network}",
        xlabel="batch size",
        ylabel="µs per image (lower is better)",
        ylim=(0, None),
    )
    axes[2].legend(frameon=False)
    save(figure, record, options.picture)


def _per_image(point: Point, name: str) -> float:
    return 1e6 * point.seconds[name].median / point.value


def _lines(
    panel: Axes, points: list[Point], series: str, height: Callable[[Point, str], float]
) -> None:
    chosen = [point for point in points if point.series == series]
    values = [point.value for point in chosen]
    for name in ("numpy", "torch"):
        heights = [height(point, name) for point in chosen]
        panel.plot(values, heights, "o-", color=COLOURS[name], label=LABELS[name])
    panel.set_xscale("log", base=2)
    panel.set_xticks(values, [str(value) for value in values])
    panel.minorticks_off()
    panel.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, record: dict[str, Any], path: Path) -> None:
    """Write the picture with the environment under it."""
    figure.supxlabel(heading(record), fontsize=8, color="0.35")
    figure.savefig(path, dpi=150)
    plt.close(figure)
    announce(f"wrote {path}")
