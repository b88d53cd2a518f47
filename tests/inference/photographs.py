"""Photographs of digits that are not MNIST's, made by a script, and how many of them are read.

Digits are drawn with strokes that vary or set in fonts, on light or dark paper, and photographed by
simulation: perspective, uneven light, the shadow of a hand, a blurred lens, noise, JPEG.

    python -m tests.inference.photographs --folder photographs
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFilter, ImageFont

import pretrained
from inference.reading import Reading, read_number

#: A digit's strokes, in hundredths of a box, x and y downwards; curves go through the points.
STROKES = (
    ("50 0, 15 30, 15 70, 50 100, 85 70, 85 30, 50 0",),
    ("30 20, 55 0, 52 50, 50 100",),
    ("15 25, 50 0, 82 28, 50 65, 12 100", "12 100, 90 97"),
    ("15 10, 55 0, 80 22, 45 46", "45 46, 85 70, 50 100, 10 88"),
    ("60 0, 35 30, 10 65", "10 65, 95 62", "68 35, 65 70, 63 100"),
    ("25 2, 20 45", "20 45, 60 40, 85 68, 50 100, 12 90", "25 2, 85 0"),
    ("70 0, 30 35, 15 75, 50 100, 80 75, 50 53, 18 70",),
    ("10 3, 90 0", "90 0, 55 50, 40 100"),
    ("50 47, 20 22, 50 0, 80 22, 50 47, 15 76, 50 100, 85 76, 50 47",),
    ("80 25, 50 0, 20 25, 50 48, 80 25", "80 25, 75 65, 60 100"),
)
KINDS = ("strokes", "fonts", "board")
FONTS = ("DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono", "STIXGeneral", "cmr10", "cmtt10")


class Photograph(NamedTuple):
    """A picture, its number in digits, and how it was made."""

    image: Image.Image
    number: str
    kind: str


def photograph(seed: int, kind: str, digits: int = 1) -> Photograph:
    """Return a picture of a number, the same for the same arguments.

    Args:
        seed: decides everything that varies; of one digit also which, its last place.
        kind: "strokes", "fonts" or "board" (strokes, light on dark).
        digits: of the number.
    """
    rng = np.random.default_rng([seed, KINDS.index(kind), digits])
    number = "".join(str(rng.integers(10)) for _ in range(digits))
    if digits == 1:
        number = str(seed % 10)
    height = int(rng.integers(220, 420))
    draw = _set_in_font if kind == "fonts" else _written
    ink = np.asarray(draw(number, height, rng), np.float32) / 255
    light, dark = rng.uniform(0.65, 0.95), rng.uniform(0.05, 0.3)
    if kind == "board":
        light, dark = rng.uniform(0.1, 0.25), rng.uniform(0.75, 0.95)
    page = light + (dark - light) * ink
    image = Image.fromarray((page * 255).astype(np.uint8))
    return Photograph(_taken(image, round(light * 255), rng), number, kind)


def _written(number: str, height: int, rng: np.random.Generator) -> Image.Image:
    """Return ink, 255, on 0: strokes of a pen, slanted, no two the same."""
    wide, margin = round(height * 0.75), round(height * rng.uniform(0.25, 0.6))
    page = Image.new("L", (wide * len(number) + 2 * margin, height + 2 * margin))
    pen, slant = height * rng.uniform(0.05, 0.13), rng.uniform(-0.1, 0.25)
    drawing = ImageDraw.Draw(page)
    for place, digit in enumerate(number):
        own = height * rng.uniform(0.85, 1)
        for stroke in STROKES[int(digit)]:
            places = np.array([point.split() for point in stroke.split(",")], float) / 100
            points = _curve(places + rng.normal(0, 0.025, places.shape))
            points[:, 0] = points[:, 0] * 0.68 + slant * (0.5 - points[:, 1])
            points = points * own + (margin + place * wide, margin)
            for x, y in points:
                radius = pen / 2
                drawing.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return page


def _curve(points: np.ndarray) -> np.ndarray:
    """Return close points of the Catmull-Rom spline through points (N, 2)."""
    ends = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.linspace(0, 1, 60)[:, None]
    parts = []
    for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        parts.append(
            b + t * (c - a) / 2 + t**2 * (a - 2.5 * b + 2 * c - d / 2)
            + t**3 * (1.5 * (b - c) + (d - a) / 2)
        )  # fmt: skip
    return np.concatenate(parts)


def _set_in_font(number: str, height: int, rng: np.random.Generator) -> Image.Image:
    """Return ink, 255, on 0: printed digits."""
    family = FONTS[int(rng.integers(len(FONTS)))]
    weight = "bold" if family.startswith("DejaVu") and rng.random() < 0.4 else "normal"
    properties = font_manager.FontProperties(family=family, weight=weight)
    font = ImageFont.truetype(font_manager.findfont(properties), round(height * 1.2))
    left, top, right, bottom = font.getbbox(number)
    margin = round(height * rng.uniform(0.25, 0.6))
    size = round(right - left) + 2 * margin, round(bottom - top) + 2 * margin
    page = Image.new("L", size)
    ImageDraw.Draw(page).text((margin - left, margin - top), number, fill=255, font=font)
    return page


def _taken(page: Image.Image, paper: int, rng: np.random.Generator) -> Image.Image:
    """Return the page as a camera sees it."""
    width, height = page.size
    tilt = page.rotate(rng.uniform(-8, 8), Image.Resampling.BICUBIC, fillcolor=paper)
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    seen = corners + rng.uniform(-0.06, 0.06, (4, 2)) * (width, height)
    tilt = tilt.transform(
        page.size,
        Image.Transform.PERSPECTIVE,
        _perspective(corners, seen).tolist(),
        Image.Resampling.BICUBIC,
        fillcolor=paper,
    )
    level = np.asarray(tilt, np.float64) / 255
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    angle = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    light = 1 - 0.25 * rng.random() * along  # a lamp at one side
    if rng.random() < 0.5:  # the shadow of a hand, soft at its edge
        edge = (along - rng.uniform(-0.5, 0.8)) / rng.uniform(0.02, 0.2)
        light *= 1 - rng.uniform(0.2, 0.5) / (1 + np.exp(-np.clip(4 * edge, -50, 50)))
    level = level * light + rng.normal(0, rng.uniform(0.005, 0.04), level.shape)
    image = Image.fromarray((np.clip(level, 0, 1) * 255).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.5)))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(40, 95)))
    return Image.open(file)


def _perspective(to: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Return Pillow's eight coefficients, which map corners (4, 2) `to` onto those `of`."""
    rows = []
    for (x, y), (u, v) in zip(to, of, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    return np.linalg.solve(np.array(rows), of.ravel())


def collection(first: int = 0) -> list[Photograph]:
    """Return 120 photographs, 90 of one digit and 30 of a number, of the seeds from `first` on."""
    seeds = range(first, first + 30)
    single = [photograph(seed, kind) for kind in KINDS for seed in seeds]
    rows = [photograph(seed, kind, 2 + seed % 4) for kind in KINDS for seed in seeds[:10]]
    return single + rows


def main() -> None:
    """Print how many photographs each network reads."""
    options = argparse.ArgumentParser(prog="python -m tests.inference.photographs")
    options.add_argument("--folder", type=Path, help="write the photographs there too")
    options.add_argument("--first", type=int, default=0, help="the first seed")
    given = options.parse_args()
    folder, photographs = given.folder, collection(given.first)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        for i, (image, number, kind) in enumerate(photographs):
            image.save(folder / f"{i:03}_{kind}_{number}.png")
    print(f"| network | {' | '.join(KINDS)} | numbers of 2 to 5 digits |")
    print("|" + " --- |" * (len(KINDS) + 2))
    for name in pretrained.names():
        weights = pretrained.load(name)
        cells = [
            _share(photographs, weights, lambda p, k=kind: p.kind == k and len(p.number) == 1)
            for kind in KINDS
        ]
        cells.append(_share(photographs, weights, lambda p: len(p.number) > 1))
        print(f"| `{name}` | {' | '.join(cells)} |")


def _share(
    photographs: list[Photograph], weights: pretrained.Weights, chosen: Callable[..., bool]
) -> str:
    """Return how many of the chosen photographs are read right, of how many."""
    ours = [taken for taken in photographs if chosen(taken)]
    right = sum(_read(taken, weights).number == taken.number for taken in ours)
    return f"{right} of {len(ours)}"


def _read(taken: Photograph, weights: pretrained.Weights) -> Reading:
    grey = np.asarray(taken.image.convert("L"), np.float32) / np.float32(255)
    return read_number(grey, weights)


if __name__ == "__main__":
    main()
