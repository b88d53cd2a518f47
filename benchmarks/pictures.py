"""Pictures of the results."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.command import heading, in_milliseconds, writing
from benchmarks.epoch import Result as EpochResult
from benchmarks.harness import Statistics
from benchmarks.memory import Peak
from benchmarks.scaling import CONVOLUTION, Limit, Point
from benchmarks.step import Result as StepResult
from training.trainer import pictures as plots

#: Distinguishable also without colour vision and in grey (Okabe and Ito).
COLOURS = {
    "numpy": "#0072B2",
    "torch": "#E69F00",
    "torch-kept": "#D55E00",
    "mygrad": "#999999",
    "jax": "#009E73",
}
LABELS = {
    "numpy": "NumPy",
    "torch": "PyTorch",
    "torch-kept": "PyTorch, freed memory kept",
    "mygrad": "MyGrad",
    "jax": "JAX jit",
}


#: Characters in a line under a picture.
NOTE_WIDTH = 120


class Bar(NamedTuple):
    """A bar: its colour's name, its length and spread, and the text at its end."""

    name: str
    sample: Statistics
    text: str


#: Bars that belong together, under one label.
Group = tuple[str, list[Bar]]


def draw_steps(results: list[StepResult], record: dict[str, Any], path: Path) -> None:
    """Draw a panel per number of threads: bars of the step's median time, quartiles as lines."""
    steps = [result for result in results if result.kind == "step"]
    panels = {
        f"{count} thread{'s' if count > 1 else ''}": [
            _step_group(result) for result in steps if result.threads == count
        ]
        for count in sorted({result.threads for result in steps})
    }
    title = "Training step: gather, forward, loss, backward, Adam (float32)"
    _draw_bars(panels, title, "milliseconds per step (shorter is better)", record, path)


def _step_group(result: StepResult) -> Group:
    bars = []
    for name, sample in result.seconds.items():
        text = f"{in_milliseconds(sample.median)} ms"
        if name == "numpy":
            text += f"  ({result.ratios['numpy/torch'].median:.2f} × PyTorch)"
        bars.append(Bar(name, Statistics.of([1e3 * value for value in sample.values]), text))
    return f"{result.network}\nbatch {result.batch}", bars


def draw_memory(results: list[Peak], data: str, record: dict[str, Any], path: Path) -> None:
    """Draw the peaks of both sides, a pair of bars per network."""
    groups = [
        (
            f"{result.network}\nbatch {result.batch}",
            [
                Bar(name, sample, f"{sample.median:.0f} MiB")
                for name, sample in result.peaks.items()
            ],
        )
        for result in results
    ]
    title = f"Peak resident memory of a training run ({data}, one epoch)"
    _draw_bars({"": groups}, title, "MiB (shorter is better)", record, path)


def draw_epochs(
    results: list[EpochResult], unmeasured: dict[str, str], path: Path, record: dict[str, Any]
) -> None:
    """Draw a bar per loop; the unmeasured ones are named below, by their reasons."""
    groups: list[Group] = []
    for result in results:
        median = result.seconds.median
        text = f"{median:.3g} s"
        if result.ratio:
            text += f"  ({result.ratio.median:.2f} × stock)"
        name = "numpy" if "NumPy" in result.line else "torch"
        groups.append((f"{result.line} ({result.device})", [Bar(name, result.seconds, text)]))
    by_reason: dict[str, list[str]] = {}
    for key, reason in unmeasured.items():
        by_reason.setdefault(reason, []).append(key)
    notes = [f"{reason}: {', '.join(keys)}" for reason, keys in by_reason.items()]
    title = "Training epoch of lenet5_tanh, batch 128"
    _draw_bars({"": groups}, title, "seconds per epoch (shorter is better)", record, path, notes)


def _draw_bars(
    panels: dict[str, list[Group]],
    title: str,
    unit: str,
    record: dict[str, Any],
    path: Path,
    notes: Sequence[str] = (),
) -> None:
    rows = max(sum(len(bars) + 0.7 for _, bars in groups) for groups in panels.values())
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(max(8.0, 5.6 * len(panels)), 1.6 + 0.3 * rows),
        layout="constrained",
        squeeze=False,
    )
    for panel, (name, groups) in zip(axes[0], panels.items(), strict=True):
        _bars(panel, groups)
        panel.set(title=name, xlabel=unit)
    names = {bar.name for groups in panels.values() for _, bars in groups for bar in bars}
    shown = [name for name in COLOURS if name in names]
    figure.legend(
        [plt.Rectangle((0, 0), 1, 1, color=COLOURS[name]) for name in shown],
        [LABELS[name] for name in shown],
        loc="outside upper center",
        ncols=len(shown),
        title=title,
        title_fontsize=12,
        frameon=False,
    )
    save(figure, record, path, notes)


def _bars(panel: Axes, groups: list[Group]) -> None:
    place, ticks = 0.0, []
    for label, bars in groups:
        ticks.append((place + (len(bars) - 1) / 2, label))
        for name, sample, text in bars:
            spread = [[sample.median - sample.lower], [sample.upper - sample.median]]
            panel.barh(place, sample.median, xerr=spread, color=COLOURS[name], error_kw={"lw": 1})
            panel.annotate(
                text,
                (sample.upper, place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
            place += 1
        place += 0.7
    panel.set_yticks([tick for tick, _ in ticks], [label for _, label in ticks])
    panel.invert_yaxis()
    panel.margins(x=0.35)
    panel.set_xlim(left=0)
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
    for name in chosen[0].seconds if chosen else ():
        heights = [height(point, name) for point in chosen]
        panel.plot(values, heights, "o-", color=COLOURS[name], label=LABELS[name])
    panel.set_xscale("log", base=2)
    panel.set_xticks(values, [str(value) for value in values])
    panel.minorticks_off()
    panel.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, record: dict[str, Any], path: Path, notes: Sequence[str] = ()) -> None:
    """Write the picture with notes and the environment under it."""
    lines = [line for note in notes for line in textwrap.wrap(note, NOTE_WIDTH)]
    figure.supxlabel("\n".join([*lines, heading(record)]), fontsize=8, color="0.35")
    with writing(path):
        plots.save(figure, path, dpi=150)
