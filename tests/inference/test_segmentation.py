from __future__ import annotations

import numpy as np
import pytest

from inference.preprocessing import find_ink
from inference.segmentation import components, find_digits


def page(*marks: tuple[int, int, int, int], size: tuple[int, int] = (100, 300)) -> np.ndarray:
    """Light paper with dark rectangles (top, left, bottom, right)."""
    grey = np.full(size, 0.9, np.float32)
    for top, left, bottom, right in marks:
        grey[top:bottom, left:right] = 0.1
    return grey


def boxes(grey: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(digit.box) for digit in find_digits(grey)[1]]


@pytest.mark.parametrize("share", [0.1, 0.4, 0.6])
def test_components_are_those_of_a_flood(share: float) -> None:
    mask = np.random.default_rng(0).random((30, 40)) < share
    labels, count = components(mask)
    assert ((labels > 0) == mask).all()
    seen = np.zeros_like(labels)
    found = 0
    for start in zip(*np.nonzero(mask), strict=True):
        if seen[start]:
            continue
        found += 1
        todo = [start]
        while todo:
            y, x = todo.pop()
            if 0 <= y < 30 and 0 <= x < 40 and mask[y, x] and not seen[y, x]:
                seen[y, x] = found
                todo += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    assert count == found
    pairs = {(int(a), int(b)) for a, b in zip(labels[mask], seen[mask], strict=True)}
    assert len(pairs) == count


def test_digits_are_read_from_left_to_right() -> None:
    found = boxes(page((20, 200, 80, 212), (25, 40, 75, 52), (22, 120, 78, 132)))
    assert [box[1] for box in found] == pytest.approx([40, 120, 200], abs=1)


def test_a_bar_by_itself_belongs_to_its_five() -> None:
    found = boxes(page((40, 100, 85, 112), (18, 95, 30, 130)))
    assert len(found) == 1
    assert found[0][0] <= 18 < 84 <= found[0][2]


def test_dirt_and_what_comes_in_from_the_edge_are_left_out() -> None:
    assert len(boxes(page((20, 100, 80, 115), (50, 200, 55, 205)))) == 1
    assert len(boxes(page((20, 100, 80, 115), (0, 280, 30, 300)))) == 1


def test_a_digit_at_the_edge_is_kept_where_there_is_no_other() -> None:
    assert len(boxes(page((0, 40, 60, 50), size=(60, 90)))) == 1


def test_two_digits_that_touch_are_cut_where_the_ink_is_thin() -> None:
    grey = page((30, 100, 70, 112), (30, 148, 70, 160), (48, 112, 54, 148))
    found = boxes(grey)
    assert len(found) == 2
    assert found[0][3] < 148
    assert found[1][1] > 112


def test_a_digits_ink_is_its_own() -> None:
    """A slanted neighbour reaches into the rectangle."""
    grey = page((20, 100, 70, 108))
    for row in range(20, 80):
        left = 182 - row
        grey[row, left : left + 8] = 0.1
    ink, digits = find_digits(grey)
    assert len(digits) == 2
    total = sum(float(digit.ink.sum()) for digit in digits)
    assert total <= find_ink(grey).ink.sum() + 1e-3
    assert total == pytest.approx(float(ink.ink[ink.mask].sum()), rel=1e-3)
