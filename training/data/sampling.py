"""The order in which an epoch visits the training images."""

from __future__ import annotations

import numpy as np

SAMPLINGS = ("shuffle", "replacement")


def epoch_batches(
    count: int,
    batch_size: int,
    sampling: str,
    generator: np.random.Generator,
    steps: int | None = None,
) -> list[np.ndarray]:
    """Draw the batches of one epoch.

    Args:
        count: number of training images.
        batch_size: images in a batch.
        sampling: "shuffle" visits every image once, and the last batch holds what is left over;
            "replacement" (report R0) draws every index independently, for `steps` full batches.
        generator: source of the order.
        steps: number of batches with "replacement"; by default count // batch_size (234 for
            60,000 images and batches of 256).

    Returns:
        One int64 index array (n,) for each batch.

    Raises:
        ValueError: a size below 1, a batch larger than the set with "replacement" (the epoch would
            be empty), or an unknown sampling.
    """
    if count < 1 or batch_size < 1:
        raise ValueError(
            f"an epoch needs at least one image and a batch size of at least 1, "
            f"but there are {count} images and batch_size={batch_size}"
        )
    if sampling == "shuffle":
        order = generator.permutation(count)
        return [order[start : start + batch_size] for start in range(0, count, batch_size)]
    if sampling == "replacement":
        if batch_size > count:
            raise ValueError(
                f"batch_size={batch_size} leaves no batch in an epoch of {count} images "
                f"sampled with replacement; use {count} or less"
            )
        return list(generator.integers(count, size=(steps or count // batch_size, batch_size)))
    raise ValueError(f"sampling={sampling!r} is unknown; choose one of {', '.join(SAMPLINGS)}")
