"""Mistakes in dropout, of both kinds."""

from __future__ import annotations

import numpy as np

from numpy_models import Dropout
from parity.faults.record import Ledger

fault = Ledger("dropout", "drop1", "dropout")
FAULTS = fault.faults


@fault.forward("kept elements not scaled up")
def _(layer, x, y):
    """The inverted kind without its factor 1 / (1 − p)."""
    layer._saved = np.sign(layer._saved)
    return y * x.dtype.type(1 - layer.p) if layer.training else y


@fault.forward("scaled by 1/p")
def _(layer, x, y):
    if not layer.training:
        return y
    factor = x.dtype.type((1 - layer.p) / layer.p)
    layer._saved = layer._saved * factor
    return y * factor


@fault("kept with the probability of dropping")
class KeptWithP(Dropout):
    def uniforms(self, shape):
        return 1 - super().uniforms(shape)


@fault.forward("original dropout not scaled in evaluation", "drop2")
def _(layer, x, y):
    """The original kind without its factor 1 − p."""
    if layer.training:
        return y
    layer._saved = np.ones_like(layer._saved)
    return x.copy()


@fault("still dropping in evaluation")
class DropsInEvaluation(Dropout):
    def forward_batch_last(self, x):
        if self.training:
            return super().forward_batch_last(x)
        uniforms = np.random.default_rng(0).random(x.shape, np.float32)
        self._saved = (uniforms > self.p).astype(x.dtype)
        return x * self._saved


@fault("another mask in backward")
class NewMaskInBackward(Dropout):
    def backward_batch_last(self, dy, input_gradient=True):
        if self.training:
            self._saved = np.roll(self._saved, 1, axis=-1)
        return super().backward_batch_last(dy, input_gradient)


@fault("one mask for the whole batch", "dropout2", "deepcnn21")
class OneMaskForTheBatch(Dropout):
    def uniforms(self, shape):
        return np.broadcast_to(super().uniforms(shape)[:1], shape)


@fault("gradient not scaled up")
class NotScaledInBackward(Dropout):
    def backward_batch_last(self, dy, input_gradient=True):
        self._saved = np.sign(self._saved)
        return super().backward_batch_last(dy, input_gradient)


# Rescaled in training and in evaluation.
fault.forward("inverted dropout scaled in evaluation too")(
    lambda layer, x, y: y if layer.training else y * x.dtype.type(1 - layer.p)
)
fault.backward("gradient not masked", "dropout1", "deepcnn21")(lambda _, dy, dx: dy.copy())
fault.setting("inverted dropout for original", "dropout1", "deepcnn21", kind="inverted")
fault.setting("original dropout for inverted", kind="original")
fault.setting("p of 0.31 for 0.3", p=0.31)
fault.scaled("dropout's gradient 0.1 % off", "input", 1.001, "dropout2", "deepcnn21")
