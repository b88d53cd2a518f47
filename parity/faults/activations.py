"""Mistakes in activations and in flattening."""

from __future__ import annotations

import numpy as np

from numpy_models import ReLU, Tanh
from parity.faults.record import Ledger

fault = Ledger("activations")
FAULTS = fault.faults


@fault("ReLU has slope 1 at 0", "relu1", "ties")
class SlopeAtZero(ReLU):
    """Derivative 1 at exactly 0."""

    def forward_batch_last(self, x):
        self.zero = x == 0
        return super().forward_batch_last(x)

    def backward_batch_last(self, dy, input_gradient=True):
        return super().backward_batch_last(dy, input_gradient) + dy * self.zero


@fault.forward("ReLU keeps its first mask", "relu6", "lenet5_avgpool")
def _(layer, x, y):
    """Backward's mask is that of the first batch."""
    first = layer.__dict__.setdefault("first", layer._saved.copy())
    if first.shape == layer._saved.shape:
        layer._saved = first


@fault("the 1998 paper's scaled tanh", "tanh1", "lenet5_tanh")
class LeCunsTanh(Tanh):
    """1.7159 tanh(2x/3), which the 1998 paper uses."""

    def forward_batch_last(self, x):
        return x.dtype.type(1.7159) * super().forward_batch_last(x * x.dtype.type(2 / 3))


@fault.forward("tanh by a fraction", "tanh1", "lenet5_tanh")
def _(layer, x, y):
    """A fraction that approximates tanh."""
    y[...] = np.clip(x * (27 + x * x) / (27 + 9 * x * x), -1, 1)


@fault.forward("flattened channels last", "flatten", "lenet5_relu")
def _(layer, x, y):
    height, channels, width, _ = x.shape
    order = np.arange(channels * height * width).reshape(channels, height, width)
    return y[order.transpose(1, 2, 0).ravel()]


fault.backward("ReLU leaks backward", "relu3")(lambda _, dy, dx: dx + dy.dtype.type(1e-4) * dy)
# Positive gradients pass instead of gradients where the input was positive.
fault.backward("ReLU gated by the gradient's sign", "relu4", "lenet5_bn")(
    lambda _, dy, dx: np.maximum(dy, 0) + 0 * dx
)
# A ceiling that ordinary inputs seldom reach.
fault.forward("ReLU clipped at 1", "relu2", "lenet5_bn")(lambda _, x, y: np.minimum(y, 1))
fault.forward("ReLU leaks forward", "relu5")(
    lambda _, x, y: y + x.dtype.type(1e-4) * np.minimum(x, 0)
)
fault.backward("tanh's derivative 1 − y", "tanh3", "lenet5_tanh")(
    lambda layer, dy, dx: dy * (1 - layer._saved) + 0 * dx
)
fault.backward("tanh's derivative at the output", "tanh2", "lenet5_tanh")(
    lambda layer, dy, dx: dy * (1 - np.tanh(layer._saved) ** 2) + 0 * dx
)
fault.backward("gradient folded in another order", "flatten", "deepcnn21")(
    lambda _, dy, dx: dy.reshape(dx.shape[1], dx.shape[2], dx.shape[0], -1).transpose(2, 0, 1, 3)
)
# Reshaped without bringing the batch to the front.
fault.forward("samples in another order", "flatten", "lenet5_tanh")(lambda _, x, y: y[:, ::-1])
fault.scaled("ReLU's gradient 0.1 % off", "input", 1.001, "relu5")
fault.scaled("tanh's gradient 0.1 % off", "input", 0.999, "tanh4", "lenet5_tanh")
fault.scaled("flatten's gradient 0.1 % off", "input", 1.001, "flatten", "lenet5_tanh")
