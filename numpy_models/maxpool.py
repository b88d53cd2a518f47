"""Max pooling, with torch's rules for ties, NaN, ceil_mode and padding.

y is the largest element of each window. A small change of that element changes y by as much, a
small change of any other not at all: dL/dx sends each window's dy to its winner, and an element
that wins several windows receives the sum. Only the positions of the winners need to be kept.

At a tie the derivative does not exist, and one element has to be chosen: torch takes the first.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from numpy_models import tiles
from numpy_models.geometry import Pair
from numpy_models.layer import Array
from numpy_models.pooling import Pool2d

Ties = Literal["first", "all"]


class MaxPool2d(Pool2d):
    """Maximum of each window, as ``torch.nn.MaxPool2d``.

    Args:
        kernel_size, stride, padding: integer or (height, width) pair; stride defaults to the
            kernel size; padding (of -inf) is at most half the kernel.
        ceil_mode: count a last window that begins inside the image but extends beyond it.
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

    def forward_batch_last(self, x: Array) -> Array:
        if self._tiles() and self.ties == "first":
            y, winners = tiles.forward_max(x, self.windows.kernel)
            if not np.isnan(y.max()):
                self._saved = x.shape, winners, None
                return y
        views = list(self.windows.offsets(self.windows.frame(x, -np.inf)))
        y = tiles.reduce(np.maximum, [view for _, _, view in views])
        if self.ties == "all":
            receives = [view == y for _, _, view in views]
        else:
            winner = self._first_winner(views, y)
            receives = [winner == index for index in range(len(views))]
        self._saved = x.shape, None, receives  # per offset, the windows that send their gradient
        return y

    def backward_batch_last(self, dy: Array, input_gradient: bool = True) -> Array:
        shape, winners, receives = self._saved
        if winners is not None:
            return tiles.backward_max(dy, winners, self.windows.kernel, shape)
        framed = np.zeros(self.windows.framed_shape(shape), dy.dtype)
        for mask, (_, _, gradient) in zip(receives, self.windows.offsets(framed), strict=True):
            gradient += np.where(mask, dy, 0)
        return self.windows.inside(framed, shape)

    def _first_winner(self, views: list[tuple[int, int, Array]], y: Array) -> Array:
        """Return, per window, the number of the offset that receives the gradient in torch."""
        (sh, sw), (ph, pw) = self.windows.stride, self.windows.padding
        kw = self.windows.kernel[1]
        oh, _, ow, _ = y.shape
        # If a window is all -inf, its first element inside the image wins.
        top = np.maximum(0, ph - sh * np.arange(oh))[:, None, None, None]
        left = np.maximum(0, pw - sw * np.arange(ow))[None, None, :, None]
        winner = np.broadcast_to(top * kw + left, y.shape).astype(np.int32)
        best = np.full(y.shape, -np.inf, y.dtype)
        for i, j, view in views:
            better = (view > best) | np.isnan(view)
            np.copyto(best, view, where=better)
            winner[better] = i * kw + j
        return winner
