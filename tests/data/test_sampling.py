from __future__ import annotations

import numpy as np
import pytest

from training.data import epoch_batches


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


def test_replacement_draws_from_the_first_image_to_the_last():
    drawn = np.concatenate(epoch_batches(3, 3, "replacement", generator(), steps=60))
    assert set(drawn) == {0, 1, 2}


@pytest.mark.parametrize("sampling", ["shuffle", "replacement"])
def test_the_order_depends_on_the_generator_alone(sampling):
    first, same, other = (epoch_batches(50, 7, sampling, generator(seed)) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, same, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_a_batch_larger_than_the_set():
    assert [len(batch) for batch in epoch_batches(5, 8, "shuffle", generator())] == [5]
