"""Mistakes in convolutions. Inside a layer images are (H, C, W, N)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from numpy_models import Conv2d
from parity.faults.record import Fault, become, scaled


@contextmanager
def kernel(layer: Conv2d, change: Callable[[np.ndarray], np.ndarray]) -> Iterator[None]:
    """Let a layer compute with another kernel for a moment."""
    weight = layer._parameters["weight"]
    before = weight.copy()
    weight[...] = change(before)
    try:
        yield
    finally:
        weight[...] = before


def forward_with(change: Callable[[np.ndarray], np.ndarray]) -> type[Conv2d]:
    """Return a convolution whose forward uses a changed kernel."""

    class Changed(Conv2d):
        def forward_batch_last(self, x):
            with kernel(self, change):
                return super().forward_batch_last(x)

    return Changed


def backward_with(change: Callable[[np.ndarray], np.ndarray]) -> type[Conv2d]:
    """Return a convolution whose input gradient uses a changed kernel."""

    class Changed(Conv2d):
        def backward_batch_last(self, dy, input_gradient=True):
            with kernel(self, change):
                return super().backward_batch_last(dy, input_gradient)

    return Changed


def gradient_with(change: Callable[[np.ndarray], np.ndarray], name: str = "weight") -> type[Conv2d]:
    """Return a convolution whose weight or bias gradient is changed at the end."""

    class Changed(Conv2d):
        def backward_batch_last(self, dy, input_gradient=True):
            dx = super().backward_batch_last(dy, input_gradient)
            self._gradients[name][...] = change(self._gradients[name].copy())
            return dx

    return Changed


class ShiftedWindow(Conv2d):
    def forward_batch_last(self, x):
        return super().forward_batch_last(np.roll(x, (1, 1), axis=(0, 2)))


class OneSidedPadding(Conv2d):
    """All padding above and to the left, as if padded once and cut to size."""

    def forward_batch_last(self, x):
        (ph, pw), (height, _, width, _) = self.windows.padding, x.shape
        moved = np.zeros_like(x)
        moved[ph:, :, pw:] = x[: height - ph, :, : width - pw]
        return super().forward_batch_last(moved)


class EdgePadding(Conv2d):
    def forward_batch_last(self, x):
        (ph, pw), (height, _, width, _) = self.windows.padding, x.shape
        y = super().forward_batch_last(x).copy()
        framed = np.pad(x, ((ph, ph), (0, 0), (pw, pw), (0, 0)), mode="edge")
        inner = framed.copy()
        inner[ph : ph + height, :, pw : pw + width] = 0
        for i, j, window in self.windows.offsets(inner, y.shape[0], y.shape[2]):
            y += np.einsum("fc,hcwn->hfwn", self._parameters["weight"][:, :, i, j], window)
        return y


class NoBias(Conv2d):
    def forward_batch_last(self, x):
        return super().forward_batch_last(x) - self._parameters["bias"][:, None, None]


class BiasOfTheFirstFilter(Conv2d):
    def forward_batch_last(self, x):
        bias = self._parameters["bias"]
        return super().forward_batch_last(x) + (bias[0] - bias)[:, None, None]


class MeanBiasGradient(Conv2d):
    """The bias gradient averaged over positions instead of summed."""

    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        self._gradients["bias"] /= dy.shape[0] * dy.shape[2]
        return dx


class BiasGradientOverBatch(Conv2d):
    """The bias gradient divided by the batch size once more."""

    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        self._gradients["bias"] /= dy.shape[3]
        return dx


class LastSampleOnly(Conv2d):
    """`=` for `+=` in the loop over samples: the weight gradient of the last one stays."""

    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient).copy()
        last = np.zeros_like(dy)
        last[..., -1] = dy[..., -1]
        super().backward_batch_last(last, input_gradient)
        return dx


class LastOffsetOnly(Conv2d):
    """`=` for `+=` where windows overlap in the input gradient."""

    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        (ph, pw), (height, channels, width, n) = self.windows.padding, dx.shape
        frame = np.zeros((height + 2 * ph, channels, width + 2 * pw, n), dx.dtype)
        for i, j, window in self.windows.offsets(frame, dy.shape[0], dy.shape[2]):
            window[...] = np.einsum("fc,hfwn->hcwn", self._parameters["weight"][:, :, i, j], dy)
        return frame[ph : ph + height, :, pw : pw + width]


class PaddingLeftOn(Conv2d):
    """The padded gradient cut from its corner instead of from its middle."""

    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        (ph, pw), moved = self.windows.padding, np.zeros_like(dx)
        moved[ph:, :, pw:] = dx[: dx.shape[0] - ph, :, : dx.shape[2] - pw]
        return moved


class StrideForgotten(Conv2d):
    """No zeros inserted between the upstream gradient's elements for a stride above 1."""

    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        wrong = np.zeros_like(dx)
        for i in range(self.windows.kernel[0]):
            for j in range(self.windows.kernel[1]):
                part = np.einsum("fc,hfwn->hcwn", self._parameters["weight"][:, :, i, j], dy)
                wrong[i : i + dy.shape[0], :, j : j + dy.shape[2]] += part
        return wrong


class StaleCache(Conv2d):
    """Backward reads the input of the first batch it ever saw."""

    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        first = self.__dict__.setdefault("first", self._saved)
        if first.shape == x.shape:
            self._saved = first
        return y


class Accumulating(Conv2d):
    """Gradients are added to those of the call before."""

    def backward_batch_last(self, dy, input_gradient=True):
        before = self._gradients["weight"].copy()
        dx = super().backward_batch_last(dy, input_gradient)
        self._gradients["weight"] += before
        return dx


class UpdatingInBackward(Conv2d):
    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        self._parameters["weight"] -= np.float32(1e-4) * self._gradients["weight"]
        return dx


class HalfPrecision(Conv2d):
    """The product is taken in float16."""

    def forward_batch_last(self, x):
        with kernel(self, lambda weight: weight.astype(np.float16)):
            return super().forward_batch_last(x)


class LastFilterForgotten(Conv2d):
    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        y[:, -1] = 0
        return y


class UpstreamOfTheWrongSign(Conv2d):
    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        return -dx


def without_last_row(gradient: np.ndarray) -> np.ndarray:
    """Leave a gradient's last kernel row out."""
    gradient[:, :, -1] = 0
    return gradient


def columns_reordered(weight: np.ndarray) -> np.ndarray:
    """Flatten a kernel as (kh, kw, C) where the columns are (C, kh, kw)."""
    return weight.transpose(0, 2, 3, 1).reshape(weight.shape)


def _fault(name: str, kind: type[Conv2d], layer: str = "c3", scene: str = "lenet5_relu") -> Fault:
    return Fault(name, "convolution", layer, scene, become(layer, kind))


FAULTS = [
    _fault("kernel flipped: a true convolution", forward_with(lambda w: w[:, :, ::-1, ::-1])),
    _fault("kernel rows and columns swapped", forward_with(lambda w: w.swapaxes(2, 3))),
    _fault("input channels in reverse order", forward_with(lambda w: w[:, ::-1])),
    _fault("columns flattened in another order", forward_with(columns_reordered)),
    _fault(
        "input gradient with the kernel unflipped", backward_with(lambda w: w[:, :, ::-1, ::-1])
    ),
    _fault("window shifted by one", ShiftedWindow),
    _fault("padding on one side", OneSidedPadding, "c1"),
    _fault("edges repeated instead of zeros", EdgePadding, "c1"),
    _fault("convolution forgets its bias", NoBias),
    _fault("every filter has the first one's bias", BiasOfTheFirstFilter, "c1", "lenet5_bn"),
    _fault("bias gradient is a mean over positions", MeanBiasGradient),
    _fault("bias gradient divided by the batch size", BiasGradientOverBatch, "c1"),
    _fault("weight gradient of the last sample alone", LastSampleOnly),
    _fault("weight gradient misses its last row", gradient_with(without_last_row)),
    _fault("weight gradient flipped", gradient_with(lambda g: g[:, :, ::-1, ::-1])),
    _fault("overlapping windows assigned, not added", LastOffsetOnly, "c3", "lenet5_tanh"),
    _fault("overlapping windows assigned, stride 2", LastOffsetOnly, "c3", "overlapping"),
    _fault("padding left on the input gradient", PaddingLeftOn, "c1", "overlapping"),
    _fault("stride forgotten in the input gradient", StrideForgotten, "c1", "strided"),
    _fault("convolution keeps its first input", StaleCache),
    _fault("weight gradients accumulate", Accumulating, "c3", "lenet5_avgpool"),
    _fault("weights updated in backward", UpdatingInBackward),
    _fault("products in half precision", HalfPrecision),
    _fault("last filter forgotten", LastFilterForgotten),
    _fault("input gradient of the wrong sign", UpstreamOfTheWrongSign),
    _fault("weight gradient clipped", gradient_with(lambda g: g.clip(-1e-3, 1e-3))),
    *(
        Fault(
            f"convolution's {tensor} gradient 0.1 % off",
            "convolution",
            "c3",
            "lenet5_relu",
            scaled("c3", tensor, 1.001),
        )
        for tensor in ("input", "weight", "bias")
    ),
]
