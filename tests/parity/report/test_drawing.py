"""Pictures and numbers: what is drawn is what was measured."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex

from parity.report import drawing, numbers
from parity.report.drawing import COLUMNS, ROWS, lay_out

SHAPES = [(), (3,), (120,), (8, 10), (84, 120), (500, 2), (8, 6, 28, 28), (120, 16, 5, 5)]
SHAPES += [(8, 1, 28, 28), (1, 6, 4, 4), (2, 3, 4)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_plane_is_small_and_loses_no_large_error(shape) -> None:
    errors = np.random.default_rng(0).random(shape)
    cells, words = lay_out(errors)
    plane = np.array(cells)
    assert plane.shape[0] <= ROWS
    assert plane.shape[1] <= COLUMNS
    assert plane.max() == errors.max()
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
    (image,) = drawing.heat_map(cells).axes[0].images
    colours = image.cmap(image.norm(image.get_array()))
    assert to_hex(colours[0, 1]) == drawing.LIMIT != to_hex(colours[1, 1])


@pytest.mark.parametrize("error", [0.0, 1e-300, math.inf])
def test_the_same_errors_give_the_same_picture(error) -> None:
    one, other = (drawing.png(drawing.heat_map([[error, error]])) for _ in range(2))
    assert one == other
    assert one.startswith("data:image/png;base64,")


def test_a_training_is_drawn_as_far_as_it_went_and_extremes_stay_inside(right) -> None:
    whole, double = right.trainings
    steps = [
        replace(step, worst=replace(step.worst, budget=budget, error=1.0))
        for step, budget in zip(whole.steps, (0.0, 1e-30, 1e30), strict=False)
    ]
    figure = drawing.training([replace(whole, steps=steps), double])
    torch, ours = figure.axes[0].lines[:2]
    assert list(torch.get_ydata()) == [step.torch_loss for step in steps]
    assert list(ours.get_ydata()) == [step.numpy_loss for step in steps]
    single, other = figure.axes[1].lines[:2]
    assert list(single.get_ydata()) == [drawing.MOST, drawing.MOST, drawing.LEAST]
    assert list(other.get_ydata()) == [step.worst.share for step in double.steps]
    assert drawing.png(figure)


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
