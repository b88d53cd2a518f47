from __future__ import annotations

import numpy as np
import pytest

from training.data import (
    draw_moves,
    flip_decisions,
    flip_images,
    inverse_affine,
    move_images,
)


def test_decisions_have_the_probability_and_depend_on_the_generator_alone():
    decisions = flip_decisions(20_000, 0.3, np.random.default_rng(1))
    assert decisions.dtype == np.bool_
    assert abs(decisions.mean() - 0.3) < 0.015  # four standard deviations
    np.testing.assert_array_equal(decisions, flip_decisions(20_000, 0.3, np.random.default_rng(1)))
    assert (decisions != flip_decisions(20_000, 0.3, np.random.default_rng(2))).any()


def test_certain_and_impossible_flips_take_as_many_draws():
    states = []
    for p, expected in ((0, False), (1, True), (0.5, None)):
        generator = np.random.default_rng(3)
        decisions = flip_decisions(1000, p, generator)
        assert expected is None or (decisions == expected).all()
        states.append(generator.bit_generator.state)
    assert states[0] == states[1] == states[2]


@pytest.mark.parametrize("shape", [(4, 3, 5), (4, 1, 3, 5)])
def test_only_the_chosen_images_are_mirrored_left_to_right(shape):
    images = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    before = images.copy()
    result = flip_images(images, np.array([True, False, True, False]))
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(result[1::2], images[1::2])
    np.testing.assert_array_equal(result[::2, ..., 0, 0], images[::2, ..., 0, 4])
    np.testing.assert_array_equal(result[::2], np.flip(images[::2], -1))
    assert not np.shares_memory(result, images)


def image(size: int = 9) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(1, size, size), dtype=np.uint8)


def moved(images: np.ndarray, degrees: float, right: float, down: float, **flips) -> np.ndarray:
    moves = np.tile([degrees, right, down], (len(images), 1)).astype(np.float64)
    return move_images(images, inverse_affine(moves, **flips))


def test_nothing_is_moved_by_nothing():
    result = moved(image(), 0, 0, 0)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, image())


def test_a_whole_pixel_to_the_right_and_two_down():
    expected = np.zeros((1, 9, 9))
    expected[:, 2:, 1:] = image()[:, :-2, :-1]
    np.testing.assert_array_equal(moved(image(), 0, 1, 2), expected)


def test_a_quarter_of_a_pixel_interpolates():
    source = image().astype(np.float64)
    left = np.pad(source, ((0, 0), (0, 0), (1, 0)))[:, :, :-1]
    np.testing.assert_allclose(moved(image(), 0, 0.25, 0), 0.75 * source + 0.25 * left, atol=1e-4)


def test_a_quarter_turn_is_clockwise():
    np.testing.assert_allclose(moved(image(), 90, 0, 0), np.rot90(image(), -1, (1, 2)), atol=1e-3)


def test_an_image_is_mirrored_before_it_is_moved():
    expected = moved(np.ascontiguousarray(image()[:, :, ::-1]), 30, 1, -2)
    result = moved(image(), 30, 1, -2, flips=np.array([True]))
    np.testing.assert_allclose(result, expected, atol=1e-3)


def test_what_is_moved_out_of_sight_is_background():
    for away in ((0, 50, 0), (0, 0, -1000), (45, -1e6, 1e6)):
        assert not moved(image(), *away).any()


def test_each_image_has_its_own_move():
    images = np.repeat(image(), 200, axis=0)
    moves = draw_moves(200, 2, 30, np.random.default_rng(1))
    result = move_images(images, inverse_affine(moves))
    for place in (0, 63, 64, 199):
        own = slice(place, place + 1)
        np.testing.assert_array_equal(result[own], moved(images[own], *moves[place]))


def test_moves_fill_their_ranges():
    moves = draw_moves(20_000, 2, 15, np.random.default_rng(0))
    np.testing.assert_allclose(moves.max(axis=0), [15, 2, 2], rtol=1e-3)
    np.testing.assert_allclose(moves.min(axis=0), [-15, -2, -2], rtol=1e-3)
    assert abs(np.corrcoef(moves.T)[np.triu_indices(3, 1)]).max() < 4 / np.sqrt(20_000)
