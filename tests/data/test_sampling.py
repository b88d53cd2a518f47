from __future__ import annotations

import numpy as np
import pytest

from training.data import epoch_batches, flip_decisions, flip_images


def generator(seed=0):
    return np.random.default_rng(seed)


def test_shuffle_visits_every_image_once_and_keeps_the_rest():
    batches = epoch_batches(60_000, 128, "shuffle", generator())
    assert [len(batch) for batch in batches] == [128] * 468 + [96]
    order = np.concatenate(batches)
    assert order.dtype == np.int64
    assert (np.sort(order) == np.arange(60_000)).all()
    assert (order != np.arange(60_000)).mean() > 0.99


def test_replacement_draws_r0s_234_batches_of_256():
    batches = epoch_batches(60_000, 256, "replacement", generator())
    assert [len(batch) for batch in batches] == [256] * 234
    drawn = np.concatenate(batches)
    assert drawn.dtype == np.int64
    assert drawn.min() >= 0
    assert drawn.max() < 60_000
    seen = len(np.unique(drawn)) / 60_000
    assert abs(seen - (1 - np.exp(-len(drawn) / 60_000))) < 0.01  # 63 %, not all of them


@pytest.mark.parametrize("sampling", ["shuffle", "replacement"])
def test_the_order_depends_on_the_generator_alone(sampling):
    first, same, other = (epoch_batches(50, 7, sampling, generator(seed)) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, same, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_a_batch_larger_than_the_set():
    assert [len(batch) for batch in epoch_batches(5, 8, "shuffle", generator())] == [5]


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
