"""Bilinear resizing of square uint8 images, bit for bit Pillow's (and torchvision's on PIL images).

Pillow resizes in two passes, here first along the width and then along the height (for images
that are not square its order depends on the version), each rounding to uint8. Sample centres lie
half a pixel in, weights are normalised at the edges and rounded to 22 fractional bits, and when
shrinking the triangle widens with the scale (antialiasing). Each pass is one matrix product here:
in float64 every sum is exact, a multiple of 2^-22 below 256.
"""

from __future__ import annotations

import math

import numpy as np

_PRECISION_BITS = 22
_CHUNK = 2048


def resize_bilinear(images: np.ndarray, size: int) -> np.ndarray:
    """Resize square images.

    Args:
        images: uint8 (..., S, S); left unchanged.
        size: height and width of the result in pixels, at least 1.

    Returns:
        A new uint8 array (..., size, size).
    """
    assert images.dtype == np.uint8
    *_, old, width = images.shape
    assert old == width
    if old == size:
        return images.copy()
    flat = images.reshape(-1, old, old)
    result = np.empty((len(flat), size, size), np.uint8)
    weights = bilinear_weights(old, size)
    for start in range(0, len(flat), _CHUNK):
        chunk = flat[start : start + _CHUNK]  # (n, S, S)
        chunk = _round(chunk.reshape(-1, old) @ weights.T).reshape(-1, old, size)
        result[start : start + _CHUNK] = _round(weights @ chunk)  # (n, size, size)
    return result.reshape(*images.shape[:-2], size, size)


def bilinear_weights(size: int, new_size: int) -> np.ndarray:
    """Return the float64 matrix (new_size, size) that resizes one axis with Pillow's weights."""
    scale = size / new_size
    support = max(scale, 1.0)
    matrix = np.zeros((new_size, size))
    for row in range(new_size):
        centre = (row + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), size)
        # Sums and products in Pillow's order: a weight's last bit may decide its rounding.
        distances = [abs((x - centre + 0.5) * (1.0 / support)) for x in range(first, last)]
        weights = [max(1.0 - distance, 0.0) for distance in distances]
        total = 0.0
        for weight in weights:  # not sum(), which compensates from Python 3.12 on
            total += weight
        for x, weight in zip(range(first, last), weights, strict=True):
            matrix[row, x] = math.floor(weight / total * 2**_PRECISION_BITS + 0.5)
    return matrix / 2**_PRECISION_BITS


def _round(values: np.ndarray) -> np.ndarray:
    """Round non-negative float64 values, halves up, to uint8; overwrites its argument."""
    values += 0.5
    return values.astype(np.uint8)
