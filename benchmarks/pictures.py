"""Draw the training steps of a result file (PNG, SVG or PDF).

python -m benchmarks.pictures benchmarks/results/step-amd-epyc.json docs/pictures/step.png
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import command
from benchmarks.harness import BenchmarkError
from benchmarks.report import Content, faster, heading, plain, ratio
from training.trainer import pictures

#: Distinguishable also without colour vision and in grey (Okabe and Ito).
LOOKS = {
    "numpy": ("NumPy", "#0072B2"),
    "torch": ("PyTorch", "#E69F00"),
    "torch-kept": ("PyTorch, freed memory kept", "#D55E00"),
    "torch-compiled": ("PyTorch, compiled", "#CC79A7"),
    "mygrad": ("MyGrad", "#999999"),
    "jax": ("JAX jit", "#009E73"),
}
#: Between two networks, in bars.
GAP = 0.7
#: Characters in a line under a picture.
NOTE_WIDTH = 120
FORMATS = (".png", ".svg", ".pdf")


def main() -> None:
    """Draw as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pictures", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    if options.picture.suffix not in FORMATS:
        raise BenchmarkError(f"{options.picture}: name a {', '.join(FORMATS)} file")
    content = command.read(options.file)
    if content["benchmark"] != "step":
        raise BenchmarkError(f"{options.file}: only the results of benchmarks.step are drawn")
    figure = draw_steps(content)
    with command.writing(options.picture):
        pictures.save(figure, options.picture, dpi=150)


def draw_steps(content: Content) -> Figure:
    """Draw a panel per number of cores: bars of the step's median time, and its range."""
    steps = [result for result in content["results"] if result["kind"] == "step"]
    counts = sorted({result["threads"] for result in steps})
    panels = [[result for result in steps if result["threads"] == count] for count in counts]
    rows = max(sum(len(result["seconds"]) + GAP for result in panel) for panel in panels)
    size = max(8.0, 5.6 * len(panels)), 1.6 + 0.3 * rows
    figure, axes = plt.subplots(1, len(panels), figsize=size, layout="constrained", squeeze=False)
    for panel, count, results in zip(axes[0], counts, panels, strict=True):
        _bars(panel, results)
        title = f"{count} core{'s' if count > 1 else ''}"
        panel.set(title=title, xlabel="milliseconds per step (shorter is better)")
    shown = [look for name, look in LOOKS.items() if any(name in r["seconds"] for r in steps)]
    figure.legend(
        [plt.Rectangle((0, 0), 1, 1, color=colour) for _, colour in shown],
        [label for label, _ in shown],
        loc="outside upper center",
        ncols=len(shown),
        title="Training step: gather, forward, loss, backward, Adam (float32)",
        title_fontsize=12,
        frameon=False,
    )
    note = textwrap.wrap(heading(content), NOTE_WIDTH)
    figure.supxlabel("\n".join(note), fontsize=8, color="0.35")
    return figure


def _bars(panel: Axes, results: Sequence[dict[str, Any]]) -> None:
    place, ticks = 0.0, []
    for result in results:
        seconds = result["seconds"]
        ticks.append(place + (len(seconds) - 1) / 2)
        for name, sample in seconds.items():
            values = [1e3 * value for value in sample["values"]]
            middle, spread = median(values), [min(values), max(values)]
            panel.barh(place, middle, color=LOOKS[name][1])
            panel.plot(spread, [place, place], color="black", linewidth=1)
            text = f" {plain(middle)} ms"
            if name == "numpy":
                share, _, _ = ratio(seconds, name, faster(seconds)).partition(" ")
                text += f" ({share} × PyTorch's faster)"
            panel.text(spread[1], place, text, va="center", fontsize=8)
            place += 1
        place += GAP
    panel.set_yticks(ticks, [f"{r['network']}\nbatch {r['batch']}" for r in results])
    panel.invert_yaxis()
    panel.margins(x=0.4)
    panel.set_xlim(left=0)
    panel.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    command.run("pictures", main)
