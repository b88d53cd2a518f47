"""What max and average pooling share: windows that move over an image.

An image is taken as one strided view per kernel offset: view (i, j) holds, for every window, the
element in its row i and column j. Pooling reduces the views to one array; its backward pass gives
every view its share of dy, and adds the shares up where windows overlap.

Windows that tile the image (stride = kernel, no padding) need no padded copy and contain every
element at most once, so their gradients are plain assignments. `_tiles` tells whether that holds;
:mod:`numpy_models.tiles` is then the faster way.
"""

from __future__ import annotations

from numpy_models.geometry import Pair, Windows, as_pair, require_image
from numpy_models.layer import Layer, Shape


class Pool2d(Layer):
    """Base of both poolings: sizes and checks."""

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

    def __repr__(self) -> str:
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
