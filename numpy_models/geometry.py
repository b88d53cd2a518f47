"""Sizes of windows over images: (height, width) pairs and output shapes as torch computes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from numpy_models.layer import Array, Shape

Pair = tuple[int, int]


def as_pair(value: int | Pair, name: str, minimum: int) -> Pair:
    """Return ``value`` as a (height, width) pair of integers that are at least ``minimum``.

    Raises:
        ValueError: if it is neither an integer nor a pair of them, or too small.
    """
    pair = (value, value) if isinstance(value, int) else tuple(value)
    whole = all(isinstance(v, int) and not isinstance(v, bool) and v >= minimum for v in pair)
    if len(pair) != 2 or not whole:
        raise ValueError(
            f"{name} must be an integer or a (height, width) pair of integers >= {minimum}, "
            f"got {value!r}"
        )
    return pair


@dataclass(frozen=True)
class Windows:
    """A kernel moving over an image: sizes, strides and paddings as (height, width) pairs."""

    kernel: Pair
    stride: Pair
    padding: Pair
    ceil_mode: bool = False

    def output_size(self, height: int, width: int, layer: str) -> Pair:
        """Return output (height, width): floor((L + 2p - k) / s) + 1, or torch's ceiling form.

        Raises:
            ValueError: if no window fits, with every dimension in the message.
        """
        rows = self.along(0, height)
        columns = self.along(1, width)
        if rows < 1 or columns < 1:
            raise ValueError(
                f"{layer} would give an empty output: input {height}x{width}, kernel "
                f"{self.kernel[0]}x{self.kernel[1]}, stride {self.stride[0]}x{self.stride[1]}, "
                f"padding {self.padding[0]}x{self.padding[1]} -> output {rows}x{columns}; "
                "use a larger input or padding, or a smaller kernel"
            )
        return rows, columns

    def along(self, axis: int, length: int) -> int:
        """Count the windows along ``axis`` (0 height, 1 width) of an image of ``length``."""
        kernel, stride, padding = self.kernel[axis], self.stride[axis], self.padding[axis]
        span = length + 2 * padding - kernel
        size = (-(-span // stride) if self.ceil_mode else span // stride) + 1
        if self.ceil_mode and (size - 1) * stride >= length + padding:
            size -= 1  # a last window that would begin in the padding at the end does not count
        return max(0, size)

    def frame(self, image: Array, fill: float) -> Array:
        """Return ``image`` (H, C, W, N) inside all that the windows reach, the rest ``fill``.

        The image itself, if they reach nothing beyond it.
        """
        shape = self.framed_shape(image.shape)
        if shape == image.shape:
            return image
        framed = np.full(shape, fill, image.dtype)
        self.inside(framed, image.shape)[...] = image
        return framed

    def framed_shape(self, shape: Shape) -> Shape:
        """Return the shape of an image of ``shape`` (H, C, W, N) with its frame."""
        lengths = [
            max(length + 2 * p, (self.along(axis, length) - 1) * s + k)
            for axis, length, k, s, p in zip(
                (0, 1), shape[::2], self.kernel, self.stride, self.padding, strict=True
            )
        ]
        return (lengths[0], shape[1], lengths[1], shape[3])

    def inside(self, framed: Array, shape: Shape) -> Array:
        """Return the view of an image of ``shape`` inside its frame."""
        top, left = self.padding
        return framed[top : top + shape[0], :, left : left + shape[2]]

    def offsets(self, framed: Array) -> Iterator[tuple[int, int, Array]]:
        """Yield each kernel offset (i, j) with what the windows see there: views (OH, C, OW, N)."""
        (kh, kw), (sh, sw) = self.kernel, self.stride
        rows, _, columns, _ = framed.shape
        for i in range(kh):
            for j in range(kw):
                yield i, j, framed[i : rows - kh + i + 1 : sh, :, j : columns - kw + j + 1 : sw]


def require_image(shape: Shape, layer: str, channels: int | None = None) -> Shape:
    """Return ``shape``, one sample's, if it is (C, H, W).

    Raises:
        ValueError: if it does not have three axes, or does not have ``channels``.
    """
    if len(shape) != 3:
        raise ValueError(f"{layer} takes images (N, C, H, W), got a batch of samples {shape}")
    if channels not in (None, shape[0]):
        raise ValueError(
            f"{layer} expects {channels} input channels, got {shape[0]} in samples of shape {shape}"
        )
    return shape
