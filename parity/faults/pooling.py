"""Mistakes in pooling. Inside a layer images are (H, C, W, N)."""

from __future__ import annotations

import numpy as np

from numpy_models import AvgPool2d, MaxPool2d
from parity.faults.record import Ledger

EVEN = "s2", "lenet5_bn, even"  # where rounding decides most windows
fault = Ledger("pooling", "s2")
FAULTS = fault.faults


def _views(layer: MaxPool2d | AvgPool2d, image: np.ndarray, fill: float) -> list[np.ndarray]:
    """Return one view of the padded image per kernel offset."""
    (ph, pw), (height, channels, width, n) = layer.windows.padding, image.shape
    rows, columns = layer._framed_size(height, width)
    framed = np.full((rows, channels, columns, n), fill, image.dtype)
    framed[ph : ph + height, :, pw : pw + width] = image
    oh, ow = layer.windows.output_size(height, width, "pool")
    return [view for _, _, view in layer.windows.offsets(framed, oh, ow)]


NEARLY = 2e-6
"""What counts as a tie below: more than equality, and about as much as rounding bridges."""


class Remembering(MaxPool2d):
    """Keeps its input for the faulty backward passes below."""

    def forward_batch_last(self, x):
        self.seen = x.copy()
        return super().forward_batch_last(x)

    def routed(self, dy, receives, add=True):
        """Send dy to where each kernel offset receives it."""
        shape = self.seen.shape
        rows, columns = self._framed_size(shape[0], shape[2])
        frame = np.zeros((rows, shape[1], columns, shape[3]), dy.dtype)
        gradients = self.windows.offsets(frame, dy.shape[0], dy.shape[2])
        for share, (_, _, gradient) in zip(receives, gradients, strict=True):
            gradient[...] = gradient * add + dy * share
        (ph, pw) = self.windows.padding
        return frame[ph : ph + shape[0], :, pw : pw + shape[2]]

    def winners(self, within=0.0):
        """Return for each kernel offset where it holds the maximum, or is this close to it."""
        views = _views(self, self.seen, -np.inf)
        return [view >= np.max(views, axis=0) - view.dtype.type(within) for view in views]


@fault("the last tied maximum receives the gradient", "s1", "ties")
@fault("the last tied maximum where rounding decides", *EVEN)
class LastTie(Remembering):
    def backward_batch_last(self, dy, input_gradient=True):
        receives, taken = [], np.zeros(dy.shape, bool)
        for wins in reversed(self.winners()):
            receives.append(wins & ~taken)
            taken |= wins
        return self.routed(dy, receives[::-1])


@fault("the smallest that nearly ties receives the gradient", *EVEN)
class SmallestTie(Remembering):
    """Among those that nearly tie, the smallest receives the gradient."""

    def backward_batch_last(self, dy, input_gradient=True):
        views = np.array(_views(self, self.seen, -np.inf))
        close = np.where(self.winners(NEARLY), views, np.inf)
        return self.routed(dy, np.arange(len(views))[:, None, None, None, None] == close.argmin(0))


@fault("a neighbour beyond the margin receives the gradient", *EVEN)
class FirstWithinReach(Remembering):
    """The first that comes within a thousandth of the maximum receives the gradient."""

    def backward_batch_last(self, dy, input_gradient=True):
        first = np.argmax(self.winners(1e-3), axis=0)
        return self.routed(dy, [first == k for k in range(len(self.winners()))])


@fault("two that nearly tie receive the gradient", *EVEN)
class EveryNearTie(Remembering):
    def backward_batch_last(self, dy, input_gradient=True):
        return self.routed(dy, self.winners(NEARLY))


@fault("tied maxima share the gradient", "s1", "ties")
class SharedTie(Remembering):
    def backward_batch_last(self, dy, input_gradient=True):
        wins = self.winners()
        count = np.sum(wins, axis=0).astype(dy.dtype)
        return self.routed(dy, [win / count for win in wins])


@fault("shared maxima assigned, not added", "s2", "padded maxima")
class Assigned(Remembering):
    """`=` for `+=`: of two windows that share a maximum the later one counts."""

    def backward_batch_last(self, dy, input_gradient=True):
        return self.routed(dy, self.winners(), add=False)


@fault("gradient to every element of a window")
class ToEveryElement(Remembering):
    def backward_batch_last(self, dy, input_gradient=True):
        return self.routed(dy, [np.ones(dy.shape, dy.dtype)] * len(self.winners()))


@fault("gradient to the minimum", "pool1", "deepcnn21")
class ToTheMinimum(Remembering):
    def backward_batch_last(self, dy, input_gradient=True):
        views = _views(self, self.seen, np.inf)
        return self.routed(dy, [view == np.min(views, axis=0) for view in views])


@fault.after_forward("max pooling padded with zeros", "s2", "padded maxima")
def _(layer, x, y):
    """Padded with zeros, which beat every negative value."""
    return np.max(_views(layer, x, 0.0), axis=0)


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


@fault.after_forward("divided by the kernel's side, not its area", "s2", "lenet5_avgpool")
def _(layer, x, y):
    return y * x.dtype.type(layer.windows.kernel[0])


@fault.after_backward("average's gradient not divided", "s4", "lenet5_avgpool")
def _(layer, dy, dx):
    return dx * dy.dtype.type(np.prod(layer.windows.kernel))


@fault.after_backward("average's gradient to the corner", "s2", "lenet5_tanh")
def _(layer, dy, dx):
    """The whole gradient to a window's first element."""
    (sh, sw), (oh, _, ow, _) = layer.windows.stride, dy.shape
    dx[...] = 0
    dx[: sh * oh : sh, :, : sw * ow : sw] = dy


@fault.after_backward("overlapping averages assigned, not added", "s4", "overlapping")
def _(layer, dy, dx):
    """`=` for `+=` where windows overlap."""
    (ph, pw), (height, channels, width, n) = layer.windows.padding, dx.shape
    rows, columns = layer._framed_size(height, width)
    frame = np.zeros((rows, channels, columns, n), dx.dtype)
    for _, _, gradient in layer.windows.offsets(frame, dy.shape[0], dy.shape[2]):
        gradient[...] = dy / dy.dtype.type(np.prod(layer.windows.kernel))
    return frame[ph : ph + height, :, pw : pw + width]


@fault.after_backward("rows left over take part", "s2", "odd pooling")
def _(layer, dy, dx):
    """Rows that no window covers receive the gradient of the row above."""
    dx[-1] = dx[-2]


@fault("windows of the gradient transposed", "s2", "lenet5_tanh")
class TransposedWindows(AvgPool2d):
    def backward_batch_last(self, dy, input_gradient=True):
        return super().backward_batch_last(dy.swapaxes(0, 2).reshape(dy.shape), input_gradient)


fault.setting("every tied maximum receives the gradient", "s1", "ties", ties="all")
fault.setting("padding counted in the average", "s3", "odd pooling", count_include_pad=True)
fault.setting("padding not counted in the average", "s4", "overlapping", count_include_pad=False)
fault.scaled("max pooling's gradient 0.1 % off", "input", 1.001, "s4")
fault.scaled("average pooling's gradient 0.1 % off", "input", 1.001, "s4", "lenet5_avgpool")
