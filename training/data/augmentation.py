"""Augmentation: training images mirrored, rotated a little and shifted a little.

Pixel p of an image is pixel A·(p - c) + b + c of the original, p = (x, y) with y pointing downwards
and c is the centre. A and b are the inverse of what happens to the image: it is mirrored left to
right, turned clockwise about its centre and shifted, in this order (torchvision's `affine`).
"""

from __future__ import annotations

import numpy as np

#: Of background on every side: what lies beyond is background too.
_BORDER = 2
#: Images that are moved at a time, so that what is computed for them stays in the cache.
_CHUNK = 64


def flip_decisions(count: int, p: float, generator: np.random.Generator) -> np.ndarray:
    """Decide for each of `count` images whether to flip it: bool (count,), true with chance `p`.

    Exactly `count` uniforms are taken from the generator, whatever `p` is.
    """
    return generator.random(count) < p


def flip_images(images: np.ndarray, decisions: np.ndarray) -> np.ndarray:
    """Return a copy of images (N, ..., W) in which those of a mask, bool (N,), are mirrored."""
    assert decisions.dtype == np.bool_
    result = images.copy()
    result[decisions] = images[decisions][..., ::-1]
    return result


def draw_moves(
    count: int, shift: float, rotation: float, generator: np.random.Generator
) -> np.ndarray:
    """Draw a rotation and a shift for each of `count` images, from 3·count uniforms.

    They are at most `rotation` degrees in either direction, and `shift` pixels to each side and up
    or down: float64 (count, 3), degrees clockwise, pixels to the right, pixels down.
    """
    return generator.uniform(-1, 1, (count, 3)) * (rotation, shift, shift)


def inverse_affine(moves: np.ndarray, flips: np.ndarray | None = None) -> np.ndarray:
    """Return [A | b], float32 (N, 2, 3), of moves (N, 3) and of flips, bool (N,)."""
    angles = np.deg2rad(moves[:, 0])
    cosine, sine = np.cos(angles), np.sin(angles)
    rotation = np.array([[cosine, sine], [-sine, cosine]]).transpose(2, 0, 1)  # (N, 2, 2)
    if flips is not None:
        rotation[:, 0] *= np.where(flips, -1, 1)[:, None]
    offset = -rotation @ moves[:, 1:, None]  # (N, 2, 1)
    return np.concatenate([rotation, offset], axis=2).astype(np.float32)


def move_images(images: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return images, uint8 (N, S, S), as float32 from where `inverse_affine`'s (N, 2, 3) points.

    Between four pixels their values are interpolated (bilinear), and not rounded.
    """
    count, size, _ = images.shape
    wide = size + 2 * _BORDER
    result = np.empty((count, size, size), np.float32)
    place = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        padded = np.pad(images[part], ((0, 0), (_BORDER, _BORDER), (_BORDER, _BORDER)))
        pixels = padded.astype(np.float32).ravel()
        a, b = affine[part, :, :2, None, None], affine[part, :, 2, None, None]
        points = a[:, :, 0] * place + a[:, :, 1] * place[:, None]  # (n, 2, S, S): x and y
        points += b + np.float32((size - 1) / 2)
        corner = np.floor(points)
        points -= corner
        np.clip(corner, -_BORDER, size, out=corner)
        flat = (corner[:, 1] * wide + corner[:, 0]).astype(np.intp)
        flat += (np.arange(len(flat)) * wide**2 + _BORDER * (wide + 1))[:, None, None]
        top, bottom = (_between(pixels, flat + row * wide, points[:, 0]) for row in (0, 1))
        bottom -= top
        bottom *= points[:, 1]
        np.add(top, bottom, out=result[part])
    return result


def _between(pixels: np.ndarray, index: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return what lies between pixels and the ones to the right of them."""
    left = pixels.take(index, mode="clip")  # which, unlike "raise", takes no copy
    right = pixels[1:].take(index, mode="clip")
    right -= left
    right *= share
    right += left
    return right
