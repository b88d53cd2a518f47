"""Mistakes in pooling. Inside a layer images are (H, C, W, N)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from numpy_models import AvgPool2d, MaxPool2d
from parity.faults.record import Ledger

EVEN = "s2", "lenet5_bn, even"  # where rounding decides most windows
fault = Ledger("pooling", "s2")
FAULTS = fault.faults


def _views(layer: MaxPool2d | AvgPool2d, image: np.ndarray, fill: float) -> list[np.ndarray]:
    """Return one view of the padded image per kernel offset."""
    return [view for _, _, view in layer.windows.offsets(layer.windows.frame(image, fill))]


NEARLY = 2e-6
"""What counts as a tie below: more than equality, and about as much as rounding bridges."""


def routing(
    receives: Callable[[np.ndarray], np.ndarray], fill: float = -np.inf, add: bool = True
) -> type[MaxPool2d]:
    """Return a max pooling whose backward sends each kernel offset its share of the gradient.

    Args:
        receives: the shares for the elements at each kernel offset, (offsets, H, C, W, N).
        fill: the padding's elements.
        add: whether windows that overlap add up.
    """

    class Routing(MaxPool2d):
        def forward_batch_last(self, x):
            self.seen = x.copy()
            return super().forward_batch_last(x)

        def backward_batch_last(self, dy, input_gradient=True):
            frame = np.zeros(self.windows.framed_shape(self.seen.shape), dy.dtype)
            gradients = self.windows.offsets(frame)
            shares = receives(np.array(_views(self, self.seen, fill)))
            for share, (_, _, gradient) in zip(shares, gradients, strict=True):
                gradient[...] = gradient * add + dy * share
            return self.windows.inside(frame, self.seen.shape)

    return Routing


def _winners(views: np.ndarray, within: float = 0.0) -> np.ndarray:
    """Return where an element is its window's maximum, or this close to it."""
    return views >= views.max(axis=0) - views.dtype.type(within)


def _smallest(views: np.ndarray) -> np.ndarray:
    return views == views.min(axis=0)


def _first(chosen: np.ndarray) -> np.ndarray:
    """Return the first in each window alone."""
    return chosen & (chosen.cumsum(axis=0) == 1)


LastTie = routing(lambda views: _first(_winners(views)[::-1])[::-1])
fault("the last tied maximum receives the gradient", "s1", "ties")(LastTie)
fault("the last tied maximum where rounding decides", *EVEN)(LastTie)
fault("the smallest that nearly ties receives the gradient", *EVEN)(
    routing(lambda views: _first(_smallest(np.where(_winners(views, NEARLY), views, np.inf))))
)
# Within a thousandth of the maximum.
fault("a neighbour beyond the margin receives the gradient", *EVEN)(
    routing(lambda views: _first(_winners(views, 1e-3)))
)
fault("two that nearly tie receive the gradient", *EVEN)(
    routing(lambda views: _winners(views, NEARLY))
)
fault("tied maxima share the gradient", "s1", "ties")(
    routing(lambda views: _winners(views) / _winners(views).sum(axis=0))
)
# `=` for `+=`: of two windows that share a maximum the later one counts.
fault("shared maxima assigned, not added", "s2", "padded maxima")(routing(_winners, add=False))
fault("gradient to every element of a window")(routing(np.ones_like))
fault("gradient to the minimum", "pool1", "deepcnn21")(routing(_smallest, fill=np.inf))


@fault("max pooling keeps its first batch", "s2", "lenet5_bn")
class StaleWinners(MaxPool2d):
    """Backward sends gradients to the maxima of the first batch."""

    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        if self.__dict__.setdefault("first", (x.shape, x.copy()))[0] == x.shape:
            kept = y.copy()
            super().forward_batch_last(self.first[1])
            return kept
        return y


@fault.backward("average's gradient to the corner", "s2", "lenet5_tanh")
def _(layer, dy, dx):
    """The whole gradient to a window's first element."""
    (sh, sw), (oh, _, ow, _) = layer.windows.stride, dy.shape
    dx[...] = 0
    dx[: sh * oh : sh, :, : sw * ow : sw] = dy


@fault.backward("overlapping averages assigned, not added", "s4", "overlapping")
def _(layer, dy, dx):
    """`=` for `+=` where windows overlap."""
    frame = np.zeros(layer.windows.framed_shape(dx.shape), dy.dtype)
    for _, _, gradient in layer.windows.offsets(frame):
        gradient[...] = dy / dy.dtype.type(np.prod(layer.windows.kernel))
    return layer.windows.inside(frame, dx.shape)


@fault("windows of the gradient transposed", "s2", "lenet5_tanh")
class TransposedWindows(AvgPool2d):
    def backward_batch_last(self, dy, input_gradient=True):
        return super().backward_batch_last(dy.swapaxes(0, 2).reshape(dy.shape), input_gradient)


@fault.backward("rows left over take part", "s2", "odd pooling")
def _(layer, dy, dx):
    """Rows that no window covers receive the gradient of the row above."""
    dx[-1] = dx[-2]


# Zeros beat every negative value.
fault.forward("max pooling padded with zeros", "s2", "padded maxima")(
    lambda layer, x, y: np.max(_views(layer, x, 0.0), axis=0)
)
fault.forward("divided by the kernel's side, not its area", "s2", "lenet5_avgpool")(
    lambda layer, x, y: y * x.dtype.type(layer.windows.kernel[0])
)
fault.backward("average's gradient not divided", "s4", "lenet5_avgpool")(
    lambda layer, dy, dx: dx * dy.dtype.type(np.prod(layer.windows.kernel))
)
fault.setting("every tied maximum receives the gradient", "s1", "ties", ties="all")
fault.setting("padding counted in the average", "s3", "odd pooling", count_include_pad=True)
fault.setting("padding not counted in the average", "s4", "overlapping", count_include_pad=False)
fault.scaled("max pooling's gradient 0.1 % off", "input", 1.001, "s4")
fault.scaled("average pooling's gradient 0.1 % off", "input", 1.001, "s4", "lenet5_avgpool")
