"""The networks with their reports' batch sizes, and the images they are timed on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TRAIN_IMAGES = 60_000
TEST_IMAGES = 10_000
#: Images per forward pass of inference, as in training's evaluation.
EVALUATION_BATCH = 1000
#: Share of random labels: it keeps the loss, and with it every gradient, from vanishing in long
#: runs, where denormal numbers would be timed instead.
WRONG_LABELS = 0.1


class Case(NamedTuple):
    """A network as its report trains it."""

    batch: int
    image_size: int


CASES = {
    "lenet5_relu": Case(256, 28),
    "lenet5_tanh": Case(128, 32),
    "lenet5_avgpool": Case(64, 28),
    "lenet5_bn": Case(256, 28),
    "deepcnn21": Case(500, 28),
}


def make_data(size: int, count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return synthetic images that can be learnt: a coarse pattern per class, under noise.

    Args:
        size: height and width of an image.
        count: how many.
        seed: equal seeds give equal data.

    Returns:
        Images uint8 (count, size, size) and labels int64 (count,), 0 to 9.
    """
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 192, (10, size // 4, size // 4), np.uint8)
    patterns = coarse.repeat(4, axis=1).repeat(4, axis=2)
    shown = generator.integers(0, 10, count)
    images = patterns[shown]
    images += generator.integers(0, 64, images.shape, np.uint8)
    wrong = generator.random(count) < WRONG_LABELS
    labels = np.where(wrong, generator.integers(0, 10, count), shown)
    return images, labels
