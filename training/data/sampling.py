"""Which training images each step of an epoch takes."""

from __future__ import annotations

import numpy as np


def epoch_batches(
    count: int,
    batch_size: int,
    sampling: str,
    generator: np.random.Generator,
    steps: int | None = None,
) -> list[np.ndarray]:
    """Draw the batches of one epoch over `count` training images: index arrays, int64 (n,).

    Sampling "shuffle" visits every image once, and the last batch holds what is left over;
    "replacement" (report R0) draws every index independently, for `steps` full batches of at most
    `count` images, by default count // batch_size (234 for 60,000 images and batches of 256).
    """
    if sampling == "shuffle":
        order = generator.permutation(count)
        return [order[start : start + batch_size] for start in range(0, count, batch_size)]
    assert sampling == "replacement"
    assert batch_size <= count
    return list(generator.integers(count, size=(steps or count // batch_size, batch_size)))
