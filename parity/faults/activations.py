"""Mistakes in activations and in flattening."""

from __future__ import annotations

import numpy as np

from numpy_models import Flatten, ReLU, Tanh
from parity.faults.record import Fault, become, scaled


class SlopeAtZero(ReLU):
    """Derivative 1 at exactly 0."""

    def forward_batch_last(self, x):
        self.zero = x == 0
        return super().forward_batch_last(x)

    def backward_batch_last(self, dy, input_gradient=True):
        return super().backward_batch_last(dy, input_gradient) + dy * self.zero


class LeakyBackward(ReLU):
    def backward_batch_last(self, dy, input_gradient=True):
        return super().backward_batch_last(dy, input_gradient) + dy.dtype.type(1e-4) * dy


class GatedByGradient(ReLU):
    """Passes positive gradients instead of gradients where the input was positive."""

    def backward_batch_last(self, dy, input_gradient=True):
        return np.maximum(dy, 0) + 0 * super().backward_batch_last(dy, input_gradient)


class Clipped(ReLU):
    """ReLU1: a ceiling that ordinary inputs seldom reach."""

    def forward_batch_last(self, x):
        return np.minimum(super().forward_batch_last(x), 1)


class LeakyForward(ReLU):
    def forward_batch_last(self, x):
        return super().forward_batch_last(x) + x.dtype.type(1e-4) * np.minimum(x, 0)


class StaleGate(ReLU):
    """Backward's mask is that of the first batch."""

    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        first = self.__dict__.setdefault("first", self._saved.copy())
        if first.shape == self._saved.shape:
            self._saved = first
        return y


class NotSquared(Tanh):
    def backward_batch_last(self, dy, input_gradient=True):
        return dy * (1 - self._saved) + 0 * super().backward_batch_last(dy, input_gradient)


class DerivativeOfOutput(Tanh):
    """1 − tanh(y)², the derivative taken at the output."""

    def backward_batch_last(self, dy, input_gradient=True):
        return dy * (1 - np.tanh(self._saved) ** 2) + 0 * super().backward_batch_last(
            dy, input_gradient
        )


class LeCunsTanh(Tanh):
    """1.7159 tanh(2x/3), which the 1998 paper uses."""

    def forward_batch_last(self, x):
        return x.dtype.type(1.7159) * super().forward_batch_last(x * x.dtype.type(2 / 3))


class Rational(Tanh):
    """A fraction that approximates tanh."""

    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        y[...] = np.clip(x * (27 + x * x) / (27 + 9 * x * x), -1, 1)
        return y


class ChannelsLast(Flatten):
    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        height, channels, width, _ = x.shape
        order = np.arange(channels * height * width).reshape(channels, height, width)
        return y[order.transpose(1, 2, 0).ravel()]


class BackwardOrder(Flatten):
    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        return dy.reshape(dx.shape[1], dx.shape[2], dx.shape[0], -1).transpose(2, 0, 1, 3)


class BatchOrder(Flatten):
    """Reshaped without bringing the batch to the front, which mixes the samples."""

    def forward_batch_last(self, x):
        return super().forward_batch_last(x)[:, ::-1]


def _fault(name: str, kind: type, layer: str, scene: str) -> Fault:
    return Fault(name, "activations", layer, scene, become(layer, kind))


FAULTS = [
    _fault("ReLU has slope 1 at 0", SlopeAtZero, "relu1", "ties"),
    _fault("ReLU leaks backward", LeakyBackward, "relu3", "lenet5_relu"),
    _fault("ReLU leaks forward", LeakyForward, "relu5", "lenet5_relu"),
    _fault("ReLU gated by the gradient's sign", GatedByGradient, "relu4", "lenet5_bn"),
    _fault("ReLU clipped at 1", Clipped, "relu2", "lenet5_bn"),
    _fault("ReLU keeps its first mask", StaleGate, "relu6", "lenet5_avgpool"),
    _fault("tanh's derivative 1 − y", NotSquared, "tanh3", "lenet5_tanh"),
    _fault("tanh's derivative at the output", DerivativeOfOutput, "tanh2", "lenet5_tanh"),
    _fault("the 1998 paper's scaled tanh", LeCunsTanh, "tanh1", "lenet5_tanh"),
    _fault("tanh by a fraction", Rational, "tanh1", "lenet5_tanh"),
    _fault("flattened channels last", ChannelsLast, "flatten", "lenet5_relu"),
    _fault("gradient folded in another order", BackwardOrder, "flatten", "deepcnn21"),
    _fault("samples in another order", BatchOrder, "flatten", "lenet5_tanh"),
    *(
        Fault(f"{kind}'s gradient 0.1 % off", "activations", layer, scene, plant)
        for kind, layer, scene, plant in [
            ("ReLU", "relu5", "lenet5_relu", scaled("relu5", "input", 1.001)),
            ("tanh", "tanh4", "lenet5_tanh", scaled("tanh4", "input", 0.999)),
            ("flatten", "flatten", "lenet5_tanh", scaled("flatten", "input", 1.001)),
        ]
    ),
]
