"""Mistakes in the stack of layers, its modes, and what one call leaves to the next."""

from __future__ import annotations

from typing import Any

import numpy as np

from numpy_models import Sequential
from parity.faults.record import Fault, Scene, network_becomes


def without(layer: str, forward: bool, backward: bool) -> type[Sequential]:
    """Return a network class that leaves one layer out in one or both directions."""

    class Skipping(Sequential):
        def _run(self, method: str, value: np.ndarray, skip: bool) -> Any:
            stack = self.layers
            kept = dict(stack)
            if skip:
                del stack[layer]
            try:
                return getattr(Sequential, method)(self, value)
            finally:
                stack.clear()
                stack.update(kept)

        def forward_batch_last(self, x):
            return self._run("forward_batch_last", x, forward)

        def backward_batch_last(self, dy, input_gradient=True):
            return self._run("backward_batch_last", dy, backward)

    return Skipping


def exchanged(first: str, second: str) -> Any:
    """Plant by exchanging two layers' places in the stack."""

    def plant(scene: Scene) -> None:
        layers = scene.network.layers
        order = list(layers)
        i, j = order.index(first), order.index(second)
        order[i], order[j] = order[j], order[i]
        kept = {name: layers[name] for name in order}
        layers.clear()
        layers.update(kept)

    return plant


class EvaluationIgnored(Sequential):
    def eval(self):
        return self


class TrainingIgnored(Sequential):
    def train(self, mode=True):
        return super().train(False)


class CallersArrayReused(Sequential):
    def forward(self, x):
        y = super().forward(x)
        x[...] = 0
        return y


class AccumulatingOverCalls(Sequential):
    """No zero_grad: every backward adds to the gradients before it."""

    def backward(self, dy, input_gradient=True):
        before = self.flat_gradients.copy()
        dx = super().backward(dy, input_gradient)
        self.flat_gradients += before
        return dx


class FirstBatchForever(Sequential):
    """The first batch of each size answered from a cache."""

    def forward(self, x):
        cache = self.__dict__.setdefault("cache", {})
        return super().forward(cache.setdefault(x.shape, x.copy()))


class NoInputGradient(Sequential):
    def backward(self, dy, input_gradient=True):
        return super().backward(dy, input_gradient=False)


class DoubleOutput(Sequential):
    def forward(self, x):
        return super().forward(x).astype(np.float64)


def _fault(name: str, culprit: str, kind: type[Sequential], scene: str = "lenet5_relu") -> Fault:
    return Fault(name, "training", culprit, scene, network_becomes(kind))


FAULTS = [
    _fault("a layer left out", "relu5", without("relu5", True, True)),
    _fault("a layer left out in backward", "tanh4", without("tanh4", False, True), "lenet5_tanh"),
    Fault(
        "pooling before activation",
        "training",
        "tanh3",
        "lenet5_tanh",
        exchanged("tanh3", "s4"),
    ),
    _fault("evaluation mode ignored", "eval", EvaluationIgnored, "deepcnn21"),
    _fault("training mode ignored", "train", TrainingIgnored, "lenet5_bn"),
    _fault("caller's array used again", "inputs", CallersArrayReused, "lenet5_avgpool"),
    _fault("gradients accumulate over calls", "calls", AccumulatingOverCalls),
    _fault("first batch answered for ever", "calls", FirstBatchForever),
    _fault("no gradient for the input", "gradient of input", NoInputGradient, "perceptron"),
    _fault("output in double precision", "output", DoubleOutput, "lenet5_tanh"),
]
