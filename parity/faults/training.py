"""Mistakes in the stack of layers, its modes, and what one call leaves to the next."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np

from numpy_models import Sequential
from parity.faults.record import Ledger, Scene, network_becomes

fault = Ledger("training", how=network_becomes)
FAULTS = fault.faults


def without(layer: str, *methods: str) -> type[Sequential]:
    """Return a network class that leaves one layer out in these methods."""

    def skipping(method: str) -> Any:
        def run(self: Sequential, value: np.ndarray, *flag: bool) -> Any:
            with patch.dict(self.layers):
                del self.layers[layer]
                return getattr(Sequential, method)(self, value)

        return run

    return type("Skipping", (Sequential,), {method: skipping(method) for method in methods})


def exchanged(first: str, second: str) -> Any:
    """Plant by exchanging two layers' places in the stack."""

    def plant(scene: Scene) -> None:
        layers = scene.network.layers
        exchange = {first: second, second: first}
        order = [exchange.get(name, name) for name in layers]
        kept = {name: layers[name] for name in order}
        layers.clear()
        layers.update(kept)

    return plant


@fault("evaluation mode ignored", "eval", "deepcnn21")
class EvaluationIgnored(Sequential):
    def eval(self):
        return self


@fault("training mode ignored", "train", "lenet5_bn")
class TrainingIgnored(Sequential):
    def train(self, mode=True):
        return super().train(False)


@fault("caller's array used again", "inputs", "lenet5_avgpool")
class CallersArrayReused(Sequential):
    def forward(self, x):
        y = super().forward(x)
        x[...] = 0
        return y


@fault("gradients accumulate over calls", "calls")
class AccumulatingOverCalls(Sequential):
    """No zero_grad: every backward adds to the gradients before it."""

    def backward(self, dy, input_gradient=True):
        before = self.flat_gradients.copy()
        dx = super().backward(dy, input_gradient)
        self.flat_gradients += before
        return dx


@fault("first batch answered for ever", "calls")
class FirstBatchForever(Sequential):
    """The first batch of each size answered from a cache."""

    def forward(self, x):
        cache = self.__dict__.setdefault("cache", {})
        return super().forward(cache.setdefault(x.shape, x.copy()))


@fault("no gradient for the input", "gradient of input", "perceptron")
class NoInputGradient(Sequential):
    def backward(self, dy, input_gradient=True):
        return super().backward(dy, input_gradient=False)


@fault("output in double precision", "dtype", "lenet5_tanh")
class DoubleOutput(Sequential):
    def forward(self, x):
        return super().forward(x).astype(np.float64)


fault("a layer left out", "relu5")(without("relu5", "forward_batch_last", "backward_batch_last"))
fault("a layer left out in backward", "tanh4", "lenet5_tanh")(
    without("tanh4", "backward_batch_last")
)
fault.plant("pooling before activation", exchanged("tanh3", "s4"), "tanh3", "lenet5_tanh")
