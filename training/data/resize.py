"""Bilinear resizing of square uint8 images, as torchvision resizes Pillow's: by Pillow itself.

Pillow resizes along the width, then along the height, each time rounding to uint8, with a triangle
that widens with the scale when shrinking (antialiasing). Its first pass is used for both here, with
all lines of all images at once.
"""

from __future__ import annotations

import numpy as np


def resize_bilinear(images: np.ndarray, size: int) -> np.ndarray:
    """Return square images, uint8 (..., S, S), resized to uint8 (..., size, size)."""
    assert images.dtype == np.uint8
    *shape, old, width = images.shape
    assert old == width
    wide = _resize_lines(images.reshape(-1, old), size).reshape(-1, old, size)  # (n, S, size)
    high = _resize_lines(wide.swapaxes(1, 2).reshape(-1, old), size)  # columns are the lines
    return high.reshape(-1, size, size).swapaxes(1, 2).reshape(*shape, size, size).copy()


def _resize_lines(lines: np.ndarray, size: int) -> np.ndarray:
    """Resize lines of pixels, uint8 (n, S), to a length."""
    from PIL import Image  # which most runs do without

    if not len(lines):
        return np.empty((0, size), np.uint8)
    return np.asarray(Image.fromarray(lines).resize((size, len(lines)), Image.Resampling.BILINEAR))
