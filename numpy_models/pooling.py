"""What max and average pooling share: windows that move over an image.

An image is taken as one strided view per kernel offset: view (i, j) holds, for every window, the
element in its row i and column j. Pooling reduces the views to one array; its backward pass gives
every view its share of dy, and adds the shares up where windows overlap.

Windows that tile the image (stride = kernel, no padding) need no padded copy and contain every
element at most once, so their gradients are plain assignments. `_tiles` tells whether that holds;
:mod:`numpy_models.tiles` is then the faster way.
"""

from __future__ import annotations

import numpy as np

from numpy_models.geometry import Pair, Windows, as_pair, require_image
from numpy_models.layer import Array, Layer, Shape


class Pool2d(Layer):
    """Base of both poolings: sizes, checks, and the frame of padding around an image."""

    def __init__(
        self, kernel_size: int | Pair, stride: int | Pair | None, padding: int | Pair, ceil: bool
    ) -> None:
        super().__init__()
        kernel = as_pair(kernel_size, "kernel_size", 1)
        self.windows = Windows(
            kernel,
            kernel if stride is None else as_pair(stride, "stride", 1),
            as_pair(padding, "padding", 0),
            ceil,
        )
        if any(2 * p > k for p, k in zip(self.windows.padding, kernel, strict=True)):
            raise ValueError(
                f"{type(self).__name__}: padding {self.windows.padding} must be at most half of "
                f"the kernel size {kernel}"
            )

    def describe(self) -> str:
        w = self.windows
        return (
            f"{type(self).__name__}(kernel_size={w.kernel}, stride={w.stride}, padding={w.padding})"
        )

    def output_shape(self, shape: Shape) -> Shape:
        channels, height, width = require_image(shape, type(self).__name__)
        return (channels, *self.windows.output_size(height, width, type(self).__name__))

    def _tiles(self) -> bool:
        w = self.windows
        return w.stride == w.kernel and w.padding == (0, 0) and not w.ceil_mode

    def _framed(self, x: Array, fill: float) -> Array:
        """Return ``x`` itself if windows tile it, otherwise a copy framed with ``fill``."""
        if self._tiles():
            return x
        (ph, pw), (height, channels, width, n) = self.windows.padding, x.shape
        rows, columns = self._framed_size(height, width)
        framed = np.full((rows, channels, columns, n), fill, x.dtype)
        framed[ph : ph + height, :, pw : pw + width] = x
        return framed

    def _framed_size(self, height: int, width: int) -> Pair:
        w = self.windows
        oh, ow = w.output_size(height, width, type(self).__name__)
        rows = max(height + 2 * w.padding[0], (oh - 1) * w.stride[0] + w.kernel[0])
        columns = max(width + 2 * w.padding[1], (ow - 1) * w.stride[1] + w.kernel[1])
        return rows, columns

    def _gradient_frame(self, shape: Shape, dy: Array) -> Array:
        """Return a zero gradient for the framed image of an input of ``shape``."""
        height, channels, width, n = shape
        rows, columns = (height, width) if self._tiles() else self._framed_size(height, width)
        return np.zeros((rows, channels, columns, n), dy.dtype)

    def _unframed(self, frame: Array, shape: Shape) -> Array:
        (ph, pw), (height, _, width, _) = self.windows.padding, shape
        return frame[ph : ph + height, :, pw : pw + width]
