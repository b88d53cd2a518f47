"""From a photo, scan or drawing to ink on nothing, and from a digit's ink to an image like MNIST's.

MNIST's digits were scaled into 20×20 pixels, keeping their proportions, and placed in 28×28 so that
their centre of mass is in the middle (Y. LeCun et al., "The MNIST database of handwritten digits").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]

SIZE, BOX = 28, 20
#: Half of the widest stroke that is ink and not a dark place, as a share of the smaller side.
WIDEST = 0.16
#: Contrast with the paper below which there is nothing to be seen.
FAINTEST = 0.08
#: A stroke's width in a box of 20 pixels that a thinner one is brought to; MNIST's have 2 to 4.
STROKE = 2.2


class BlankError(ValueError):
    """An image that shows nothing; the message says so."""


@dataclass(frozen=True, eq=False)
class Ink:
    """An image's ink, and how it was found; every array is (H, W)."""

    grey: Array  # dark ink on light paper: inverted where the paper was dark
    paper: Array  # the grey level that it has by itself at each place, with its uneven light
    ink: Array  # 0 where there is none, 1 where it is darkest
    mask: NDArray[np.bool_]  # where there is ink
    inverted: bool


def find_ink(grey: Array) -> Ink:
    """Separate ink from paper in grey levels (H, W), 0 black to 1 white.

    The paper's own grey level, light and shadow included, is what is left when everything dark that
    is narrower than a stroke may be is filled with what surrounds it (a morphological closing).
    Raises BlankError if nothing stands out from it.
    """
    inverted = _paper_is_dark(grey)
    grey = _smooth(1 - grey if inverted else grey)
    radius = max(1, round(WIDEST * min(grey.shape)))
    beyond = np.pad(grey, radius, mode="edge")  # or a shadow at the edge would be a stroke
    paper = -_widest(-_widest(beyond, radius), radius)[radius:-radius, radius:-radius]
    ink = ((paper - grey) / np.maximum(paper, 0.1)).astype(np.float32)
    ink -= np.median(ink)
    noise = 1.5 * np.median(np.abs(ink))  # a normal distribution's standard deviation
    darkest = np.sort(ink, axis=None)[-max(4, ink.size // 500) :].mean()
    if darkest < max(FAINTEST, 6 * noise):
        raise BlankError("nothing stands out from the paper: it seems to be blank")
    if inverted:  # light ink is as bright as the light that falls on it
        darkest = np.maximum(_widest(ink, radius), darkest / 2)
    ink = np.clip(ink / darkest, 0, 1)
    return Ink(grey, paper, ink, ink > 0.4, inverted)


def to_mnist(ink: Array) -> NDArray[np.uint8]:
    """Return a digit's ink, (H, W) from 0 to 1 and cropped to it, as MNIST would hold it.

    Returns:
        uint8 (28, 28), 0 background and 255 ink.
    """
    ink = _thickened(ink, STROKE * max(ink.shape) / BOX)
    scale = BOX / max(ink.shape)
    size = max(1, round(ink.shape[1] * scale)), max(1, round(ink.shape[0] * scale))
    small = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BOX), np.float32)
    small = np.minimum(small / max(float(np.quantile(small, 0.98)), 1e-6), 1)
    rows, columns = np.indices(small.shape)
    mass = max(float(small.sum()), 1e-6)
    top, left = (
        int(np.clip(np.floor(SIZE / 2 - (small * place).sum() / mass + 0.5), 0, SIZE - side))
        for place, side in ((rows, small.shape[0]), (columns, small.shape[1]))
    )
    image = np.zeros((SIZE, SIZE), np.uint8)
    field = image[top : top + small.shape[0], left : left + small.shape[1]]
    field[...] = np.rint(small * 255)
    return image


def _paper_is_dark(grey: Array) -> bool:
    """Return whether most of the image is darker than the middle between its extremes.

    Asked in each part of the image, weighted by its contrast: a shadow may cover half of it.
    """
    votes = 0.0
    for band in np.array_split(grey, min(4, grey.shape[0])):
        for part in np.array_split(band, min(4, grey.shape[1]), axis=1):
            low, middle, high = np.quantile(part, (0.02, 0.5, 0.98))
            votes += (middle - (low + high) / 2) * (high - low)
    return votes < 0


def _smooth(grey: Array) -> Array:
    """Return the means over 3×3 pixels of an image large enough for it."""
    if min(grey.shape) < 100:
        return grey
    padded = np.pad(grey, 1, mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9


def _widest(image: Array, radius: int) -> Array:
    """Return the greatest value within a square of 2·radius + 1 pixels around each."""
    window = 2 * radius + 1
    for axis in (0, 1):
        lines = np.moveaxis(image, axis, 0)
        padding = [(radius, radius), (0, 0)]
        values = np.pad(lines, padding, constant_values=-np.inf)
        step = 1
        while 2 * step <= window:  # values[i] is the maximum of `step` lines from i on
            values = np.maximum(values[:-step], values[step:])
            step *= 2
        rest = window - step
        values = np.maximum(values[: len(lines)], values[rest : rest + len(lines)])
        image = np.moveaxis(values, 0, axis)
    return image


def _thickened(ink: Array, wanted: float) -> Array:
    """Return ink whose strokes, where they are thinner, are about `wanted` pixels wide."""
    mask = ink > 0.4
    inner = np.pad(mask, 1)
    edges = sum(
        int((inner & ~np.roll(inner, shift, axis)).sum()) for axis in (0, 1) for shift in (1, -1)
    )
    # A stroke of length l and width w has an area of l·w, and 2·l of edge, in steps 4/π of it.
    width = 2 * mask.sum() / max(edges * np.pi / 4, 1)
    radius = round((wanted - width) / 2)
    return _widest(np.pad(ink, radius), radius) if radius > 0 else ink
