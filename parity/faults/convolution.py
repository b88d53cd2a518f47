"""Mistakes in convolutions. Inside a layer images are (H, C, W, N)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from numpy_models import Conv2d
from parity.faults.record import Ledger

fault = Ledger("convolution", "c3")
FAULTS = fault.faults


def with_kernel(
    change: Callable[[np.ndarray], np.ndarray], method: str = "forward_batch_last"
) -> type[Conv2d]:
    """Return a convolution of which one method computes with a changed kernel."""

    def wrong(self, given, *flag):
        weight = self._parameters["weight"]
        before = weight.copy()
        weight[...] = change(before)
        try:
            return getattr(Conv2d, method)(self, given, *flag)
        finally:
            weight[...] = before

    return type("Changed", (Conv2d,), {method: wrong})


@fault("window shifted by one")
class ShiftedWindow(Conv2d):
    def forward_batch_last(self, x):
        return super().forward_batch_last(np.roll(x, (1, 1), axis=(0, 2)))


@fault("padding on one side", "c1")
class OneSidedPadding(Conv2d):
    """All padding above and to the left, as if padded once and cut to size."""

    def forward_batch_last(self, x):
        (ph, pw), (height, _, width, _) = self.windows.padding, x.shape
        moved = np.zeros_like(x)
        moved[ph:, :, pw:] = x[: height - ph, :, : width - pw]
        return super().forward_batch_last(moved)


@fault.forward("edges repeated instead of zeros", "c1")
def _(layer, x, y):
    (ph, pw), (height, _, width, _) = layer.windows.padding, x.shape
    framed = np.pad(x, ((ph, ph), (0, 0), (pw, pw), (0, 0)), mode="edge")
    inner = framed.copy()
    inner[ph : ph + height, :, pw : pw + width] = 0
    for i, j, window in layer.windows.offsets(inner):
        y += np.einsum("fc,hcwn->hfwn", layer._parameters["weight"][:, :, i, j], window)


@fault.forward("every filter has the first one's bias", "c1", "lenet5_bn")
def _(layer, x, y):
    bias = layer._parameters["bias"]
    return y + (bias[0] - bias)[:, None, None]


@fault("weight gradient of the last sample alone")
class LastSampleOnly(Conv2d):
    """`=` for `+=` in the loop over samples: the weight gradient of the last one stays."""

    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient).copy()
        last = np.zeros_like(dy)
        last[..., -1] = dy[..., -1]
        super().backward_batch_last(last, input_gradient)
        return dx


@fault.backward("overlapping windows assigned, not added", "c3", "lenet5_tanh")
@fault.backward("overlapping windows assigned, stride 2", "c3", "overlapping")
def _(layer, dy, dx):
    """`=` for `+=` where windows overlap in the input gradient."""
    frame = np.zeros(layer.windows.framed_shape(dx.shape), dx.dtype)
    for i, j, window in layer.windows.offsets(frame):
        window[...] = np.einsum("fc,hfwn->hcwn", layer._parameters["weight"][:, :, i, j], dy)
    return layer.windows.inside(frame, dx.shape)


@fault.backward("padding left on the input gradient", "c1", "overlapping")
def _(layer, dy, dx):
    """The padded gradient cut from its corner instead of from its middle."""
    (ph, pw), moved = layer.windows.padding, np.zeros_like(dx)
    moved[ph:, :, pw:] = dx[: dx.shape[0] - ph, :, : dx.shape[2] - pw]
    return moved


@fault.backward("stride forgotten in the input gradient", "c1", "strided")
def _(layer, dy, dx):
    """No zeros inserted between the upstream gradient's elements for a stride above 1."""
    wrong = np.zeros_like(dx)
    for i in range(layer.windows.kernel[0]):
        for j in range(layer.windows.kernel[1]):
            part = np.einsum("fc,hfwn->hcwn", layer._parameters["weight"][:, :, i, j], dy)
            wrong[i : i + dy.shape[0], :, j : j + dy.shape[2]] += part
    return wrong


@fault.forward("convolution keeps its first input")
def _(layer, x, y):
    """Backward reads the input of the first batch it ever saw."""
    first = layer.__dict__.setdefault("first", layer._saved)
    if first.shape == x.shape:
        layer._saved = first


@fault("weight gradients accumulate", "c3", "lenet5_avgpool")
class Accumulating(Conv2d):
    """Gradients are added to those of the call before."""

    def backward_batch_last(self, dy, input_gradient=True):
        before = self._gradients["weight"].copy()
        dx = super().backward_batch_last(dy, input_gradient)
        self._gradients["weight"] += before
        return dx


@fault.backward("weights updated in backward")
def _(layer, dy, dx):
    layer._parameters["weight"] -= np.float32(1e-4) * layer._gradients["weight"]


fault("kernel flipped: a true convolution")(with_kernel(lambda w: w[:, :, ::-1, ::-1]))
fault("kernel rows and columns swapped")(with_kernel(lambda w: w.swapaxes(2, 3)))
fault("input channels in reverse order")(with_kernel(lambda w: w[:, ::-1]))
# (kh, kw, C) where the columns are (C, kh, kw).
fault("columns flattened in another order")(
    with_kernel(lambda w: w.transpose(0, 2, 3, 1).reshape(w.shape))
)
fault("products in half precision")(with_kernel(lambda w: w.astype(np.float16)))
fault("input gradient with the kernel unflipped")(
    with_kernel(lambda w: w[:, :, ::-1, ::-1], "backward_batch_last")
)
fault.forward("convolution forgets its bias")(
    lambda layer, x, y: y - layer._parameters["bias"][:, None, None]
)
fault.backward("input gradient of the wrong sign")(lambda _, dy, dx: -dx)
fault.gradient("bias gradient is a mean over positions", "bias")(
    lambda _, dy, g: g / (dy.shape[0] * dy.shape[2])
)
fault.gradient("bias gradient divided by the batch size", "bias", "c1")(
    lambda _, dy, g: g / dy.shape[3]
)
fault.forward("last filter forgotten")(lambda _, x, y: y[:, -1].fill(0))
fault.gradient("weight gradient misses its last row", "weight")(
    lambda _, dy, g: np.concatenate([g[:, :, :-1], 0 * g[:, :, -1:]], axis=2)
)
fault.gradient("weight gradient flipped", "weight")(lambda _, dy, g: g[:, :, ::-1, ::-1].copy())
fault.gradient("weight gradient clipped", "weight")(lambda _, dy, g: g.clip(-1e-3, 1e-3))
for tensor in ("input", "weight", "bias"):
    fault.scaled(f"convolution's {tensor} gradient 0.1 % off", tensor, 1.001)
