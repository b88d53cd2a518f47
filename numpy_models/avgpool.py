"""Average pooling, with torch's rules for ceil_mode and padding.

y is the sum of a window's elements divided by their number k. Each element contributes 1/k of its
value, so dL/dx gives dy/k to every element of a window, added up where windows overlap.
"""

from __future__ import annotations

import numpy as np

from numpy_models import tiles
from numpy_models.geometry import Pair
from numpy_models.layer import Array, Shape
from numpy_models.pooling import Pool2d


class AvgPool2d(Pool2d):
    """Mean of each window, as ``torch.nn.AvgPool2d``.

    Args:
        kernel_size, stride, padding, ceil_mode: as for :class:`numpy_models.MaxPool2d`;
            padding is of zeros.
        count_include_pad: whether padding counts in the divisor. The part of a ceil_mode window
            beyond the padding never does.

    Raises:
        ValueError: for sizes out of range, or a geometry that would give an empty output.
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.count_include_pad = count_include_pad

    def forward_batch_last(self, x: Array) -> Array:
        self._saved = x.shape  # only the shape: the derivative does not depend on the values
        if self._tiles():
            return tiles.forward_mean(x, self.windows.kernel)
        views = self.windows.offsets(self.windows.frame(x, 0))
        y = tiles.reduce(np.add, [view for _, _, view in views])
        y /= self._divisor(x.shape, x.dtype)
        return y

    def backward_batch_last(self, dy: Array, input_gradient: bool = True) -> Array:
        shape = self._saved
        if self._tiles():
            return tiles.backward_mean(dy, self.windows.kernel, shape)
        share = dy / self._divisor(shape, dy.dtype)
        framed = np.zeros(self.windows.framed_shape(shape), dy.dtype)
        for _, _, gradient in self.windows.offsets(framed):
            gradient += share
        return self.windows.inside(framed, shape)

    def _divisor(self, shape: Shape, dtype: np.dtype) -> Array:
        """Return how many elements each window counts: (OH, 1, OW, 1)."""
        rows = self._counted(0, shape[0])
        columns = self._counted(1, shape[2])
        return (rows[:, None] * columns).astype(dtype)[:, None, :, None]

    def _counted(self, axis: int, length: int) -> Array:
        w = self.windows
        outputs = w.along(axis, length)
        start = w.stride[axis] * np.arange(outputs) - w.padding[axis]
        stop = np.minimum(start + w.kernel[axis], length + w.padding[axis])
        if not self.count_include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, length)
        return stop - start
