"""Bilinear resizing of uint8 images, bit for bit Pillow's (and so torchvision's on PIL images).

Pillow resizes in two passes, first along the width and then along the height, each rounding to
uint8. Sample centres lie half a pixel in, weights are normalised at the edges and rounded to 22
fractional bits, and when shrinking the triangle widens with the scale (antialiasing). Each pass
is one matrix product here: in float64 every sum is exact, a multiple of 2^-22 below 256.
"""

from __future__ import annotations

import math

import numpy as np

_PRECISION_BITS = 22
_CHUNK = 2048


def resize_bilinear(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize images to `height` by `width` pixels.

    Arguments:
        images: uint8 (..., H, W); left unchanged.
        height: rows of the result, at least 1.
        width: columns of the result, at least 1.

    Returns:
        A new uint8 array (..., height, width).

    Raises:
        ValueError: the images are not uint8, have fewer than two axes, or a size is below 1.
    """
    if images.dtype != np.uint8 or images.ndim < 2:
        raise ValueError(
            f"images must be uint8 with axes (..., height, width), "
            f"but they are {images.dtype} of shape {images.shape}"
        )
    if min(height, width, *images.shape[-2:]) < 1:
        raise ValueError(f"cannot resize {images.shape[-2:]} pixels to {(height, width)}")
    rows, columns = images.shape[-2:]
    flat = images.reshape(-1, rows, columns)
    result = np.empty((len(flat), height, width), np.uint8)
    across = bilinear_weights(columns, width).T  # (W, width)
    down = bilinear_weights(rows, height)  # (height, H)
    for start in range(0, len(flat), _CHUNK):
        chunk = flat[start : start + _CHUNK]  # (n, H, W)
        if width != columns:
            chunk = _round(chunk.reshape(-1, columns) @ across).reshape(-1, rows, width)
        if height != rows:
            chunk = _round(down @ chunk)  # (n, height, width)
        result[start : start + _CHUNK] = chunk
    return result.reshape(*images.shape[:-2], height, width)


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
