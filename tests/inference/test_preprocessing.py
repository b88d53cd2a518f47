from __future__ import annotations

import numpy as np
import pytest

from inference.preprocessing import BlankError, find_ink, to_mnist


def a_seven(size: int = 200, pen: int = 16) -> np.ndarray:
    """Ink, 1, on nothing: a bar and a stroke down."""
    ink = np.zeros((size, size), np.float32)
    ink[40 : 40 + pen, 60:140] = 1
    ink[40:160, 140 - pen : 140] = 1
    return ink


def lit(ink: np.ndarray, paper: float, pen: float) -> np.ndarray:
    return (paper + (pen - paper) * ink).astype(np.float32)


def share_in_common(found: np.ndarray, true: np.ndarray) -> float:
    return (found & true).sum() / (found | true).sum()


@pytest.mark.parametrize(("paper", "pen"), [(0.9, 0.1), (0.8, 0.5), (0.1, 0.9), (0.3, 0.6)])
def test_ink_is_found_on_light_and_on_dark_paper(paper: float, pen: float) -> None:
    found = find_ink(lit(a_seven(), paper, pen))
    assert found.inverted == (pen > paper)
    assert share_in_common(found.mask, a_seven() > 0) > 0.85  # edges are a pixel of 16


def test_light_from_one_side_and_a_shadow_are_taken_out() -> None:
    light = np.linspace(1, 0.5, 200)[:, None] * np.ones(200)
    light[:, 100:] *= 0.6
    found = find_ink((lit(a_seven(), 0.95, 0.15) * light).astype(np.float32))
    assert share_in_common(found.mask, a_seven() > 0) > 0.8


@pytest.mark.parametrize(
    "grey",
    [
        np.full((100, 100), 0.8),
        np.random.default_rng(0).normal(0.8, 0.03, (300, 300)),
        np.linspace(0.5, 0.9, 40_000).reshape(200, 200),
        np.zeros((1, 1)),
    ],
    ids=["nothing", "noise", "light from one side", "one pixel"],
)
def test_blank_paper_is_told(grey: np.ndarray) -> None:
    with pytest.raises(BlankError, match="it seems to be blank"):
        find_ink(grey.astype(np.float32))


def test_a_digit_fills_20_pixels_with_its_mass_in_the_middle() -> None:
    image = to_mnist(a_seven()[40:160, 60:140])
    assert image.shape == (28, 28)
    rows, columns = np.nonzero(image)
    assert np.ptp(rows) == 19
    assert np.ptp(columns) < 19  # its proportions are kept
    weights = image / image.sum()
    for axis in (0, 1):
        assert abs((weights.sum(axis=1 - axis) * np.arange(28)).sum() - 14) <= 1


@pytest.mark.parametrize("pen", [2, 6, 12, 20])
def test_thin_strokes_are_made_as_thick_as_mnists(pen: int) -> None:
    image = to_mnist(a_seven(pen=pen)[40:160, 60:140])
    width = (image[14] > 127).sum()  # of the stroke down
    assert 2 <= width <= 4
    assert image.max() == 255


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (400, 3)])
def test_marks_of_any_shape_fit(shape: tuple[int, int]) -> None:
    image = to_mnist(np.ones(shape, np.float32))
    assert image.shape == (28, 28)
    assert image.any()
