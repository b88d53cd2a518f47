"""Mistakes in fully connected layers. Inside a layer features are (F, N)."""

from __future__ import annotations

import numpy as np

from numpy_models import Linear
from parity.faults.record import Fault, become, scaled


class Transposed(Linear):
    """x @ W for x @ Wᵀ, which a square matrix does not refuse."""

    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        bias = self._parameters["bias"][:, None]
        return self._parameters["weight"].T @ x + bias + np.zeros_like(y)


class TransposedBackward(Linear):
    def backward_batch_last(self, dy, input_gradient=True):
        super().backward_batch_last(dy, input_gradient)
        return self._parameters["weight"] @ dy


class TransposedGradient(Linear):
    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        self._gradients["weight"][...] = self._gradients["weight"].T.copy()
        return dx


class BiasTwice(Linear):
    def forward_batch_last(self, x):
        return super().forward_batch_last(x) + self._parameters["bias"][:, None]


class AveragedAgain(Linear):
    """The gradient divided by the batch size although the loss has already done so."""

    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        self._gradients["weight"] /= dy.shape[1]
        return dx


class MeanBias(Linear):
    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        self._gradients["bias"][...] = dy.mean(axis=1)
        return dx


class LastSampleBias(Linear):
    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        self._gradients["bias"][...] = dy[:, -1]
        return dx


class HiddenWeightDecay(Linear):
    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        self._gradients["weight"] += np.float32(1e-4) * self._parameters["weight"]
        return dx


class ThroughUpdatedWeights(Linear):
    """The input gradient taken through the weights after a step of descent."""

    def backward_batch_last(self, dy, input_gradient=True):
        super().backward_batch_last(dy, input_gradient)
        moved = self._parameters["weight"] - np.float32(0.01) * self._gradients["weight"]
        return moved.T @ dy


class NoBiasGradient(Linear):
    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        self._gradients["bias"][...] = 0
        return dx


class SavedView(Linear):
    """Backward's input is kept as a view of memory that is used again."""

    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        self._saved = x[:, ::-1]
        return y


def _fault(name: str, kind: type[Linear], layer: str = "f6", scene: str = "lenet5_relu") -> Fault:
    return Fault(name, "linear", layer, scene, become(layer, kind))


FAULTS = [
    _fault("square weight transposed", Transposed, "f6", "overlapping"),
    _fault("square weight transposed in backward", TransposedBackward, "f6", "overlapping"),
    _fault("square weight gradient transposed", TransposedGradient, "f6", "overlapping"),
    _fault("bias added twice", BiasTwice),
    _fault("weight gradient divided by the batch size again", AveragedAgain),
    _fault("bias gradient is a mean over the batch", MeanBias, "fc2", "deepcnn21"),
    _fault("bias gradient of the last sample", LastSampleBias),
    _fault("bias gradient forgotten", NoBiasGradient, "out", "lenet5_tanh"),
    _fault("weight decay hidden in the gradient", HiddenWeightDecay, "c5"),
    _fault("input gradient through updated weights", ThroughUpdatedWeights, "out"),
    _fault("saved samples in another order", SavedView),
    *(
        Fault(
            f"linear layer's {tensor} gradient 0.1 % off",
            "linear",
            "c5",
            "lenet5_relu",
            scaled("c5", tensor, 0.999),
        )
        for tensor in ("input", "weight", "bias")
    ),
]
