"""Heat maps, plots and numbers: what is drawn is what was measured."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from parity.report import numbers, svg
from parity.report.heat import COLUMNS, ROWS, lay_out

SHAPES = [(), (3,), (120,), (8, 10), (84, 120), (500, 2), (8, 6, 28, 28), (120, 16, 5, 5)]
SHAPES += [(8, 1, 28, 28), (1, 6, 4, 4), (2, 3, 4)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_plane_is_small_and_loses_no_large_error(shape) -> None:
    errors = np.random.default_rng(0).random(shape)
    cells, words = lay_out(errors)
    plane = np.array(cells)
    assert plane.shape[0] <= ROWS
    assert plane.shape[1] <= COLUMNS
    assert np.nanmax(plane) == errors.max()
    assert words


def test_small_planes_keep_every_element_in_its_place() -> None:
    errors = np.arange(24.0).reshape(2, 3, 2, 2)
    cells, words = lay_out(errors)
    assert cells[0] == [0, 1, 4, 5, 8, 9]
    assert cells[3] == [14, 15, 18, 19, 22, 23]
    assert words == "2 × 3 tiles of 2 × 2"


def test_what_is_not_finite_stays_visible() -> None:
    cells, _ = lay_out(np.array([[0.0, math.nan], [math.inf, 1.0]]))
    assert cells == [[0.0, math.inf], [math.inf, 1.0]]
    assert svg.heat_map(cells, "t", "d").count('class="heat9"') == 1


def test_levels_follow_the_errors() -> None:
    drawn = svg.heat_map([[0.0, 0.1, 0.5, 1.0, math.nan]], "t", "d")
    found = dict(re.findall(r'class="heat(\d)" d="M(\d)', drawn))
    assert found == {"0": "0", "1": "1", "4": "2", "8": "3"}
    assert 'class="heat0"' in svg.heat_map([[0.0, 0.0]], "t", "d")


def test_a_plot_puts_larger_values_higher_and_stops_where_the_run_stopped() -> None:
    drawn = svg.plot([svg.Series("single", [1.0, 3.0, 2.0], marks=True)], 25, "t", "d")
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', drawn)]
    assert heights[1] < heights[2] < heights[0]
    assert len(heights) == 3


@pytest.mark.parametrize("values", [[0.0], [1e-9, 1e14], [math.inf, 0.5], [math.nan, 2.0], []])
def test_a_plot_of_shares_keeps_extremes_inside(values) -> None:
    drawn = svg.plot([svg.Series("single", values, marks=True)], 5, "t", "d", shares=True)
    assert "nan" not in drawn
    assert "inf" not in drawn
    heights = [float(y) for y in re.findall(r'cy="([-\d.]+)"', drawn)]
    assert all(0 <= y <= 170 for y in heights)
    assert len(heights) == sum(not math.isnan(value) for value in values)
    assert "100 %" in drawn


def test_texts_are_escaped() -> None:
    assert "<b>" not in svg.heat_map([[1.0]], "<b>", "<b>") + svg.plot([], 3, "<b>", "<b>")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.14e-8, "1.1×10⁻⁸"),
        (1.57, "1.6"),
        (math.inf, "∞"),
        (math.nan, "–"),
        (None, "–"),
    ],
)
def test_magnitudes(value, text) -> None:
    assert numbers.magnitude(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 %"),
        (2e-4, "< 0.1 %"),
        (0.117, "12 %"),
        (0.9996, "99.96 %"),
        (1.0, "100 %"),
        (1.0002, "1.0002 times"),
        (2.5, "2.5 times"),
        (2.6e5, "2.6×10⁵ times"),
    ],
)
def test_shares(value, text) -> None:
    assert numbers.share(value) == text


def test_values_tell_neighbours_in_float32_apart() -> None:
    one = np.float32(0.1)
    assert numbers.value(float(one)) != numbers.value(float(np.nextafter(one, np.float32(1))))
    assert numbers.value(-5.85469173e-18) == "−5.85469173×10⁻¹⁸"
