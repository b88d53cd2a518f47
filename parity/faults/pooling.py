"""Mistakes in pooling. Inside a layer images are (H, C, W, N)."""

from __future__ import annotations

import numpy as np

from numpy_models import AvgPool2d, MaxPool2d
from parity.faults.record import Fault, become, scaled, set_attributes


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


class LastTie(Remembering):
    def backward_batch_last(self, dy, input_gradient=True):
        receives, taken = [], np.zeros(dy.shape, bool)
        for wins in reversed(self.winners()):
            receives.append(wins & ~taken)
            taken |= wins
        return self.routed(dy, receives[::-1])


class SmallestTie(Remembering):
    """Among those that nearly tie, the smallest receives the gradient."""

    def backward_batch_last(self, dy, input_gradient=True):
        views = np.array(_views(self, self.seen, -np.inf))
        close = np.where(self.winners(NEARLY), views, np.inf)
        return self.routed(dy, np.arange(len(views))[:, None, None, None, None] == close.argmin(0))


class FirstWithinReach(Remembering):
    """The first that comes within a thousandth of the maximum receives the gradient."""

    def backward_batch_last(self, dy, input_gradient=True):
        first = np.argmax(self.winners(1e-3), axis=0)
        return self.routed(dy, [first == k for k in range(len(self.winners()))])


class EveryNearTie(Remembering):
    def backward_batch_last(self, dy, input_gradient=True):
        return self.routed(dy, self.winners(NEARLY))


class SharedTie(Remembering):
    def backward_batch_last(self, dy, input_gradient=True):
        wins = self.winners()
        count = np.sum(wins, axis=0).astype(dy.dtype)
        return self.routed(dy, [win / count for win in wins])


class Assigned(Remembering):
    """`=` for `+=`: of two windows that share a maximum the later one counts."""

    def backward_batch_last(self, dy, input_gradient=True):
        return self.routed(dy, self.winners(), add=False)


class ToEveryElement(Remembering):
    def backward_batch_last(self, dy, input_gradient=True):
        return self.routed(dy, [np.ones(dy.shape, dy.dtype)] * len(self.winners()))


class ToTheMinimum(Remembering):
    def backward_batch_last(self, dy, input_gradient=True):
        views = _views(self, self.seen, np.inf)
        return self.routed(dy, [view == np.min(views, axis=0) for view in views])


class ZeroPadding(MaxPool2d):
    """Padded with zeros, which beat every negative value."""

    def forward_batch_last(self, x):
        super().forward_batch_last(x)
        return np.max(_views(self, x, 0.0), axis=0)


class StaleWinners(MaxPool2d):
    """Backward sends gradients to the maxima of the first batch."""

    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        if self.__dict__.setdefault("first", (x.shape, x.copy()))[0] == x.shape:
            kept = y.copy()
            super().forward_batch_last(self.first[1])
            return kept
        return y


class KernelSideAsArea(AvgPool2d):
    def forward_batch_last(self, x):
        return super().forward_batch_last(x) * x.dtype.type(self.windows.kernel[0])


class NotDivided(AvgPool2d):
    def backward_batch_last(self, dy, input_gradient=True):
        return super().backward_batch_last(dy, input_gradient) * dy.dtype.type(
            np.prod(self.windows.kernel)
        )


class ToTheCorner(AvgPool2d):
    """The whole gradient to a window's first element."""

    def backward_batch_last(self, dy, input_gradient=True):
        dx = np.zeros_like(super().backward_batch_last(dy, input_gradient))
        (sh, sw), (oh, _, ow, _) = self.windows.stride, dy.shape
        dx[: sh * oh : sh, :, : sw * ow : sw] = dy
        return dx


class AveragesAssigned(AvgPool2d):
    """`=` for `+=` where windows overlap."""

    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        (ph, pw), (height, channels, width, n) = self.windows.padding, dx.shape
        rows, columns = self._framed_size(height, width)
        frame = np.zeros((rows, channels, columns, n), dx.dtype)
        for _, _, gradient in self.windows.offsets(frame, dy.shape[0], dy.shape[2]):
            gradient[...] = dy / dy.dtype.type(np.prod(self.windows.kernel))
        return frame[ph : ph + height, :, pw : pw + width]


class RestTakesPart(MaxPool2d):
    """Rows that no window covers receive the gradient of the row above."""

    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient).copy()
        dx[-1] = dx[-2]
        return dx


class TransposedWindows(AvgPool2d):
    def backward_batch_last(self, dy, input_gradient=True):
        return super().backward_batch_last(dy.swapaxes(0, 2).reshape(dy.shape), input_gradient)


def _fault(name: str, kind: type, layer: str = "s2", scene: str = "lenet5_relu") -> Fault:
    return Fault(name, "pooling", layer, scene, become(layer, kind))


def _set(name: str, layer: str, scene: str, **values: object) -> Fault:
    return Fault(name, "pooling", layer, scene, set_attributes(layer, **values))


_EVEN = "s2", "lenet5_bn, even"  # where rounding decides most windows

FAULTS = [
    _set("every tied maximum receives the gradient", "s1", "ties", ties="all"),
    _fault("the last tied maximum receives the gradient", LastTie, "s1", "ties"),
    _fault("tied maxima share the gradient", SharedTie, "s1", "ties"),
    _fault("the last tied maximum where rounding decides", LastTie, *_EVEN),
    _fault("the smallest that nearly ties receives the gradient", SmallestTie, *_EVEN),
    _fault("a neighbour beyond the margin receives the gradient", FirstWithinReach, *_EVEN),
    _fault("two that nearly tie receive the gradient", EveryNearTie, *_EVEN),
    _fault("shared maxima assigned, not added", Assigned, "s2", "padded maxima"),
    _fault("gradient to every element of a window", ToEveryElement),
    _fault("gradient to the minimum", ToTheMinimum, "pool1", "deepcnn21"),
    _fault("max pooling padded with zeros", ZeroPadding, "s2", "padded maxima"),
    _fault("max pooling keeps its first batch", StaleWinners, "s2", "lenet5_bn"),
    _fault("rows left over take part", RestTakesPart, "s2", "odd pooling"),
    _fault("divided by the kernel's side, not its area", KernelSideAsArea, "s2", "lenet5_avgpool"),
    _fault("average's gradient not divided", NotDivided, "s4", "lenet5_avgpool"),
    _fault("average's gradient to the corner", ToTheCorner, "s2", "lenet5_tanh"),
    _fault("overlapping averages assigned, not added", AveragesAssigned, "s4", "overlapping"),
    _set("padding counted in the average", "s3", "odd pooling", count_include_pad=True),
    _set("padding not counted in the average", "s4", "overlapping", count_include_pad=False),
    _fault("windows of the gradient transposed", TransposedWindows, "s2", "lenet5_tanh"),
    *(
        Fault(f"{kind} pooling's gradient 0.1 % off", "pooling", "s4", scene, plant)
        for kind, scene, plant in [
            ("max", "lenet5_relu", scaled("s4", "input", 1.001)),
            ("average", "lenet5_avgpool", scaled("s4", "input", 1.001)),
        ]
    ),
]
