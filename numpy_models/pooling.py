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
        framed = self._scratch("framed", (rows, channels, columns, n), x.dtype)
        framed[...] = fill
        framed[ph : ph + height, :, pw : pw + width] = x
        return framed

    def _framed_size(self, height: int, width: int) -> Pair:
        w = self.windows
        oh, ow = w.output_size(height, width, type(self).__name__)
        rows = max(height + 2 * w.padding[0], (oh - 1) * w.stride[0] + w.kernel[0])
        columns = max(width + 2 * w.padding[1], (ow - 1) * w.stride[1] + w.kernel[1])
        return rows, columns

    def _gradient_frame(self, shape: Shape, dy: Array) -> Array:
        """A zeroed gradient for the framed image of an input of ``shape``."""
        height, channels, width, n = shape
        rows, columns = (height, width) if self._tiles() else self._framed_size(height, width)
        frame = self._gradient(dy, (rows, channels, columns, n))
        frame[...] = 0
        return frame

    def _unframed(self, frame: Array, shape: Shape) -> Array:
        (ph, pw), (height, _, width, _) = self.windows.padding, shape
        return frame[ph : ph + height, :, pw : pw + width]


class MaxPool2d(_Pool2d):
    """Maximum of each window, as ``torch.nn.MaxPool2d``.

    Args:
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
        if self._tiles() and self.ties == "first":
            y, won = self._forward_tiles(x)
            if not np.isnan(y).any():
                self._saved = (x.shape, None, *won)  # masks of the winners, a byte per element
                return y
        oh, ow = self.windows.output_size(x.shape[0], x.shape[2], "MaxPool2d")
        views = list(self.windows.offsets(self._framed(x, -np.inf), oh, ow))
        y = self._output(x, (oh, x.shape[1], ow, x.shape[3]))
        tiles.reduce(np.maximum, [view for _, _, view in views], y)
        if self.ties == "all":
            receives = [view == y for _, _, view in views]
        else:
            winner = self._first_winner(views, y)
            receives = [winner == index for index in range(len(views))]
        self._saved = (
            x.shape,
            receives,
        )  # per kernel offset, the windows whose gradient it receives
        return y

    def _forward_tiles(self, x: Array) -> tuple[Array, tuple[list[Array], list[Array]]]:
        kernel = self.windows.kernel
        columns = tiles.column_parts(x, kernel)
        by_row = tiles.reduce(
            np.maximum, columns, self._scratch("by_row", columns[0].shape, x.dtype)
        )
        rows = tiles.row_parts(by_row, kernel)
        y = tiles.reduce(np.maximum, rows, self._output(x, rows[0].shape))
        return y, (
            tiles.winners(columns, by_row, self._kept, "column"),
            tiles.winners(rows, y, self._kept, "row"),
        )

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        shape, receives, *tile_masks = self._recall()
        if not input_gradient:
            return None
        if receives is None:
            return self._backward_tiles(shape, dy, *tile_masks)
        frame = self._gradient_frame(shape, dy)
        gradients = self.windows.offsets(frame, dy.shape[0], dy.shape[2])
        for mask, (_, _, gradient) in zip(receives, gradients, strict=True):
            gradient += np.where(mask, dy, 0)
        return self._unframed(frame, shape)

    def _backward_tiles(
        self, shape: Shape, dy: Array, columns: list[Array], rows: list[Array]
    ) -> Array:
        kernel = self.windows.kernel
        dx = self._gradient(dy, shape)
        tiles.clear_rest(dx, kernel)
        parts = tiles.column_parts(dx, kernel)
        by_row = self._scratch("by_row", parts[0].shape, dy.dtype)
        left = self._scratch("left", parts[0].shape, dy.dtype)
        rest = left[: dy.shape[0]]
        tiles.route(dy, rows, tiles.row_parts(by_row, kernel), rest)
        tiles.route(by_row, columns, parts, left)
        return dx

    def _first_winner(self, views: list[tuple[int, int, Array]], y: Array) -> Array:
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

    Args:
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
        y = self._output(x, (oh, x.shape[1], ow, x.shape[3]))
        kernel = self.windows.kernel
        if self._tiles():
            columns = tiles.column_parts(x, kernel)
            by_row = self._scratch("by_row", columns[0].shape, x.dtype)
            tiles.reduce(np.add, columns, by_row)
            tiles.reduce(np.add, tiles.row_parts(by_row, kernel), y)
            y /= kernel[0] * kernel[1]
            return y
        views = self.windows.offsets(self._framed(x, 0), oh, ow)
        tiles.reduce(np.add, [view for _, _, view in views], y)
        y /= self._divisor(x.shape, x.dtype)
        return y

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        shape = self._recall()
        if not input_gradient:
            return None
        share = self._scratch("share", dy.shape, dy.dtype)
        kernel = self.windows.kernel
        if self._tiles():
            np.divide(dy, kernel[0] * kernel[1], out=share)
            dx = self._gradient(dy, shape)
            tiles.clear_rest(dx, kernel)
            for column in tiles.column_parts(dx, kernel):
                for part in tiles.row_parts(column, kernel):
                    part[...] = share
            return dx
        np.divide(dy, self._divisor(shape, dy.dtype), out=share)
        frame = self._gradient_frame(shape, dy)
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
