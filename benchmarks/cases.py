"""The networks with their reports' batch sizes, and the images they are timed on."""

from __future__ import annotations

from typing import NamedTuple

TRAIN_IMAGES = 60_000
TEST_IMAGES = 10_000
#: Images per forward pass of inference, as in training's evaluation.
EVALUATION_BATCH = 1000


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
