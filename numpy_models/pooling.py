"""Max and average pooling, with torch's rules for ties, NaN, ceil_mode and padding.

Both layers see an image as one strided view per kernel offset: view (i, j) holds, for every
window, the element in its row i and column j. Windows that tile the image (stride = kernel, no
padding) need no padded copy and meet every element at most once, so that their gradients are
plain assignments; `_tiles` is where that is decided.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from numpy_models import tiles
from numpy_models.geometry import Pair, Windows, as_pair, require_image
from numpy_models.layer import Array, Layer, Shape

Ties = Literal["first", "all"]


class _Pool2d(Layer):
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
        """``x`` itself where windows tile it, otherwise a copy with ``fill`` around it."""
        if self._tiles():
            return x
        (ph, pw), (height, channels, width, n) = self.windows.padding, x.shape
        rows, columns = self._framed_size(height, width)
        framed = self._buffer("framed", (rows, channels, columns, n), x.dtype)
        framed[...] = fill
        framed[ph : ph + height, :, pw : pw + width] = x
        return framed

    def _framed_size(self, height: int, width: int) -> Pair:
        w = self.windows
        oh, ow = w.output_size(height, width, type(self).__name__)
        rows = max(height + 2 * w.padding[0], (oh - 1) * w.stride[0] + w.kernel[0])
        columns = max(width + 2 * w.padding[1], (ow - 1) * w.stride[1] + w.kernel[1])
        return rows, columns

    def _gradient_frame(self, shape: Shape, dtype: np.dtype) -> Array:
        """A zeroed gradient for the framed image of an input of ``shape``."""
        height, channels, width, n = shape
        rows, columns = (height, width) if self._tiles() else self._framed_size(height, width)
        frame = self._buffer("d_framed", (rows, channels, columns, n), dtype)
        frame[...] = 0
        return frame

    def _unframed(self, frame: Array, shape: Shape) -> Array:
        (ph, pw), (height, _, width, _) = self.windows.padding, shape
        return frame[ph : ph + height, :, pw : pw + width]


class MaxPool2d(_Pool2d):
    """Maximum of each window, as ``torch.nn.MaxPool2d``.

    Arguments:
        kernel_size, stride, padding: integer or (height, width) pair; stride defaults to the
            kernel size; padding (of -inf) is at most half the kernel.
        ceil_mode: count a last window that begins inside the image but sticks out of it.
        ties: ``"first"`` sends a window's gradient to its first maximum in row-major order
            (torch); ``"all"`` sends it, undivided, to every element equal to the maximum, as
            reports R0 and R4 do.

    NaN counts as larger than any number and the last NaN of a window receives the gradient, as
    in torch.

    Raises:
        ValueError: for sizes out of range, or a geometry that would give an empty output.
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        ceil_mode: bool = False,
        ties: Ties = "first",
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        if ties not in ("first", "all"):
            raise ValueError(f'MaxPool2d: ties must be "first" or "all", got {ties!r}')
        self.ties = ties

    def forward(self, x: Array) -> Array:
        oh, ow = self.windows.output_size(x.shape[0], x.shape[2], "MaxPool2d")
        if self._tiles() and self.ties == "first":
            y, by_row = tiles.reduce(np.maximum, x, self.windows.kernel, self._buffer)
            self._saved = (x.shape, x, y, by_row)
            return y
        framed = self._framed(x, -np.inf)
        views = [view for _, _, view in self.windows.offsets(framed, oh, ow)]
        y = self._buffer("y", (oh, x.shape[1], ow, x.shape[3]), x.dtype)
        y[...] = views[0]
        for view in views[1:]:
            np.maximum(y, view, out=y)
        # Input and maxima (of windows, and of tiles' rows): equality finds the winners.
        self._saved = (x.shape, framed, y, None)
        return y

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        shape, framed, y, by_row = self._recall()
        if not input_gradient:
            return None
        if by_row is not None and not np.isnan(y).any():
            dx = self._buffer("dx", shape, dy.dtype, fill=0)
            tiles.max_backward(dy, framed, by_row, y, self.windows.kernel, self._buffer, dx)
            return dx
        frame = self._gradient_frame(shape, dy.dtype)
        oh, _, ow, _ = y.shape
        views = list(self.windows.offsets(framed, oh, ow))
        gradients = list(self.windows.offsets(frame, oh, ow))
        if self.ties == "all":
            for (_, _, view), (_, _, gradient) in zip(views, gradients, strict=True):
                gradient += np.where(view == y, dy, 0)
        else:
            winner = self._winners(views, y, shape)
            for index, (_, _, gradient) in enumerate(gradients):
                gradient += np.where(winner == index, dy, 0)
        return self._unframed(frame, shape)

    def _winners(self, views: list[tuple[int, int, Array]], y: Array, shape: Shape) -> Array:
        """Per window the number of the offset that receives the gradient under torch's rule."""
        (sh, sw), (ph, pw) = self.windows.stride, self.windows.padding
        kw = self.windows.kernel[1]
        oh, _, ow, _ = y.shape
        # A window of nothing but -inf belongs to its first element inside the image.
        top = np.maximum(0, ph - sh * np.arange(oh))[:, None, None, None]
        left = np.maximum(0, pw - sw * np.arange(ow))[None, None, :, None]
        winner = np.broadcast_to(top * kw + left, y.shape).astype(np.int32)
        best = np.full(y.shape, -np.inf, y.dtype)
        for i, j, view in views:
            better = (view > best) | np.isnan(view)
            np.copyto(best, view, where=better)
            winner[better] = i * kw + j
        return winner


class AvgPool2d(_Pool2d):
    """Mean of each window, as ``torch.nn.AvgPool2d``.

    Arguments:
        kernel_size, stride, padding, ceil_mode: as for :class:`MaxPool2d`; padding is of zeros.
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

    def forward(self, x: Array) -> Array:
        oh, ow = self.windows.output_size(x.shape[0], x.shape[2], "AvgPool2d")
        self._saved = x.shape  # only the shape: the derivative does not depend on the values
        if self._tiles():
            y, _ = tiles.reduce(np.add, x, self.windows.kernel, self._buffer)
            y *= 1 / (self.windows.kernel[0] * self.windows.kernel[1])
            return y
        views = [view for _, _, view in self.windows.offsets(self._framed(x, 0), oh, ow)]
        y = self._buffer("y", (oh, x.shape[1], ow, x.shape[3]), x.dtype)
        y[...] = views[0]
        for view in views[1:]:
            y += view
        y /= self._divisor(x.shape, x.dtype)
        return y

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        shape = self._recall()
        if not input_gradient:
            return None
        share = self._buffer("share", dy.shape, dy.dtype)
        if self._tiles():
            kh, kw = self.windows.kernel
            np.multiply(dy, 1 / (kh * kw), out=share)
            dx = self._buffer("dx", shape, dy.dtype, fill=0)
            for column in tiles.column_parts(dx, (kh, kw)):
                for part in tiles.row_parts(column, (kh, kw)):
                    part[...] = share
            return dx
        np.divide(dy, self._divisor(shape, dy.dtype), out=share)
        frame = self._gradient_frame(shape, dy.dtype)
        for _, _, gradient in self.windows.offsets(frame, dy.shape[0], dy.shape[2]):
            gradient += share
        return self._unframed(frame, shape)

    def _divisor(self, shape: Shape, dtype: np.dtype) -> Array:
        """How many elements each window counts: (OH, 1, OW, 1)."""
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
