"""A picture of how an image was read, step by step."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from inference.reading import Reading
from training.trainer.pictures import save

#: Digits of a number that are drawn.
SHOWN = 12


def draw(path: Path, place: str, reading: Reading) -> None:
    """Draw the image, its paper, its ink, and each digit as the network saw it.

    The picture has the format that path ends in, and calls the image by its place.
    """
    count = min(len(reading.digits), SHOWN)
    figure = Figure(figsize=(max(8, 1.5 * count), 6), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.1, 1.4)).flat
    ink = reading.ink
    steps = {
        "grey levels" + (", inverted" if ink.inverted else ""): ink.grey,
        "paper and light": ink.paper,
        "ink, cut into digits": 1 - ink.ink,
    }
    for axes, (title, image) in zip(above.subplots(1, 3), steps.items(), strict=True):
        axes.imshow(image, cmap="gray", vmin=0, vmax=1)
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    for digit in reading.digits:
        box = digit.box
        corner = box.left - 0.5, box.top - 0.5
        axes.add_patch(Rectangle(corner, box.width, box.height, fill=False, color="#d1495b"))
    panels = below.subplots(2, count, squeeze=False, sharey="row")
    for column, (image, bars) in enumerate(zip(reading.seen, panels[1], strict=False)):
        panels[0, column].imshow(image, cmap="gray", vmin=0, vmax=255)
        panels[0, column].set_axis_off()
        bars.set_xticks(range(10))
        bars.tick_params(labelsize=7)
        bars.set_ylim(0, 1)
        bars.spines[["top", "right"]].set_visible(False)
        width = 0.8 / len(reading.probabilities)
        for i, (backend, found) in enumerate(reading.probabilities.items()):
            shift = (i + 0.5) * width - 0.4
            places = [digit + shift for digit in range(10)]
            bars.bar(places, found[column], width, label=backend)
    panels[0, 0].set_title("what the network saw", fontsize=9, loc="left")
    panels[1, 0].set_ylabel("probability", fontsize=9)
    if len(reading.probabilities) > 1:
        panels[1, 0].legend(fontsize=7)
    figure.suptitle(f"{place}: {reading.number}")
    save(figure, path)
