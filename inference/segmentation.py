"""Cutting the digits of a number apart."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.preprocessing import Ink, find_ink

#: Of the longest mark's longer side: smaller ones are dirt.
LOWEST = 0.3
#: Marks that are looked at: a grainy image has thousands.
MOST = 200
#: Of the darkest mark's darkness: paler ones are shadows.
PALEST = 0.6
#: Of their own height: marks that are wider than this are two digits that touch, or more.
WIDEST = 1.25
#: Width of a digit, of its height, by which the number of digits that touch is guessed.
USUAL = 0.75


class Box(NamedTuple):
    """A rectangle of pixels; bottom and right are the first ones outside."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Return the number of rows."""
        return self.bottom - self.top

    @property
    def longer(self) -> int:
        """Return the longer side."""
        return max(self.height, self.width)

    @property
    def place(self) -> tuple[slice, slice]:
        """Return what selects the rectangle of an image."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def touches(self, shape: tuple[int, ...]) -> bool:
        """Return whether the rectangle reaches the edge of an image."""
        return 0 in (self.top, self.left) or self.bottom == shape[0] or self.right == shape[1]

    @property
    def width(self) -> int:
        """Return the number of columns."""
        return self.right - self.left


class Digit(NamedTuple):
    """Where a digit or a mark is, and its own ink there, float32 (height, width)."""

    box: Box
    ink: NDArray[np.float32]


def find_digits(grey: NDArray[np.float32]) -> tuple[Ink, list[Digit]]:
    """Return the ink of grey levels (H, W), 0 black to 1 white, and its digits from left to right.

    Marks that stand above each other are one digit (a 5 and its bar), and wide ones are cut where
    they have the least ink. Raises BlankError if nothing stands out from the paper.
    """
    ink = find_ink(grey)
    marks = _marks(ink)
    while pair := _same_digit([mark.box for mark in marks]):
        marks[pair[0]] = _joined(marks[pair[0]], marks.pop(pair[1]))
    marks.sort(key=lambda mark: mark.box.left)
    return ink, [digit for mark in marks for digit in _cut(mark)]


def _marks(ink: Ink) -> list[Digit]:
    """Return the connected marks, but for dirt: what is small, pale, or comes in from the edge."""
    labels, _ = components(ink.mask)
    largest_first = np.argsort(-np.bincount(labels.ravel())[1:], kind="stable") + 1
    marks = []
    for number in largest_first[:MOST]:
        box = _box(labels == number)
        own = labels[box.place] == number
        marks.append(Digit(box, np.where(own, ink.ink[box.place], 0).astype(np.float32)))
    tallest = max((mark.box.longer for mark in marks), default=0)
    marks = [mark for mark in marks if mark.box.longer >= LOWEST * tallest]
    darkest = max((_darkness(mark) for mark in marks), default=0)
    marks = [mark for mark in marks if _darkness(mark) >= PALEST * darkest]
    inside = [mark for mark in marks if not mark.box.touches(ink.grey.shape)]
    largest = max(marks, key=lambda mark: mark.ink.sum(), default=None)
    return inside if any(mark is largest for mark in inside) else marks


def _darkness(mark: Digit) -> float:
    return float(mark.ink[mark.ink > 0].mean())


def components(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], int]:
    """Label what is connected, also over corners.

    Returns:
        Labels (H, W), 0 outside the mask and from 1 on inside, and how many there are.
    """
    wide = mask.shape[1] + 2
    flat = np.pad(mask, ((1, 1), (1, 1))).ravel().astype(np.int8)
    change = np.diff(flat)
    starts, ends = np.flatnonzero(change == 1) + 1, np.flatnonzero(change == -1) + 1
    parent = list(range(len(starts)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = run = parent[parent[run]]
        return run

    # The runs of the row above that a run touches, corners included.
    first = np.searchsorted(ends, starts - wide)
    last = np.searchsorted(starts, ends - wide, side="right")
    for run, (low, high) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        for other in range(low, high):
            parent[root(run)] = root(other)
    _, numbers = np.unique([root(run) for run in range(len(starts))], return_inverse=True)
    labels = np.zeros(len(flat), np.intp)
    for start, end, number in zip(starts, ends, numbers, strict=True):
        labels[start:end] = number + 1
    return labels.reshape(-1, wide)[1:-1, 1:-1], int(numbers.max(initial=-1)) + 1


def _box(mask: NDArray[np.bool_]) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def _around(one: Box, other: Box) -> Box:
    lows, highs = np.minimum(one, other), np.maximum(one, other)
    return Box(int(lows[0]), int(lows[1]), int(highs[2]), int(highs[3]))


def _same_digit(boxes: list[Box]) -> tuple[int, int] | None:
    """Return two boxes of which the narrower one is at least half above or below the other.

    Two of about the same height, side by side, are slanted digits.
    """
    for first, one in enumerate(boxes):
        for second, other in enumerate(boxes[first + 1 :], first + 1):
            wide = min(one.right, other.right) - max(one.left, other.left)
            high = min(one.bottom, other.bottom) - max(one.top, other.top)
            beside = high >= 0.8 * max(one.height, other.height)
            if not beside and wide >= 0.5 * min(one.width, other.width):
                return first, second
    return None


def _joined(one: Digit, other: Digit) -> Digit:
    box = _around(one.box, other.box)
    ink = np.zeros((box.height, box.width), np.float32)
    for part in (one, other):
        top, left = part.box.top - box.top, part.box.left - box.left
        place = slice(top, top + part.box.height), slice(left, left + part.box.width)
        ink[place] = np.maximum(ink[place], part.ink)
    return Digit(box, ink)


def _cut(mark: Digit) -> list[Digit]:
    """Return one digit, or the several that touch each other."""
    box, ink = mark
    if box.width <= WIDEST * box.height:
        return [mark]
    count = round(box.width / box.height / USUAL)
    columns = ink.sum(axis=0)
    edges = [0]
    for number in range(1, count):
        middle, reach = box.width * number // count, box.width // count // 3
        near = columns[middle - reach : middle + reach + 1]
        edges.append(middle - reach + int(near.argmin()))
    edges.append(box.width)
    digits = []
    for left, right in pairwise(edges):
        if (ink[:, left:right] > 0).any():
            own = _box(ink[:, left:right] > 0)
            top, left = own.top, left + own.left
            bottom, right = top + own.height, left + own.width
            place = Box(box.top + top, box.left + left, box.top + bottom, box.left + right)
            digits.append(Digit(place, ink[top:bottom, left:right]))
    return digits
