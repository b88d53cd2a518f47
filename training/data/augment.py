"""Random horizontal flip: the decisions, drawn here for every backend, and their application."""

from __future__ import annotations

import numpy as np


def flip_decisions(count: int, p: float, generator: np.random.Generator) -> np.ndarray:
    """Decide for each of `count` images whether to flip it.

    Args:
        count: number of images.
        p: probability of a flip, from 0 to 1.
        generator: source of the draws; exactly `count` uniforms are taken, whatever `p` is.

    Returns:
        bool (count,).

    Raises:
        ValueError: `p` is outside 0..1.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"the flip probability must lie in 0..1, but it is {p}")
    return generator.random(count) < p


def flip_images(images: np.ndarray, decisions: np.ndarray) -> np.ndarray:
    """Return a copy in which the chosen images are mirrored left to right.

    Args:
        images: (N, ..., W), any type; left unchanged.
        decisions: bool (N,).

    Raises:
        ValueError: the decisions are not one bool per image.
    """
    if decisions.dtype != np.bool_ or decisions.shape != images.shape[:1]:
        raise ValueError(
            f"{len(images)} images need as many bool decisions, "
            f"but these are {decisions.dtype} of shape {decisions.shape}"
        )
    result = images.copy()
    result[decisions] = images[decisions][..., ::-1]
    return result
