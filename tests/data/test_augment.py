from __future__ import annotations

import numpy as np
import pytest

from training.data import flip_decisions, flip_images


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


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_a_probability_outside_0_to_1_is_refused(p):
    with pytest.raises(ValueError, match=r"0\.\.1"):
        flip_decisions(3, p, np.random.default_rng(0))


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


@pytest.mark.parametrize("decisions", [np.array([1, 0]), np.array([True])])
def test_decisions_must_be_one_bool_per_image(decisions):
    with pytest.raises(ValueError, match="2 images need as many bool decisions"):
        flip_images(np.zeros((2, 3, 3), np.uint8), decisions)
